# SPDX-License-Identifier: MIT-0
#
# roff.awk - what both manual pages need. -v version=, -v changelog= (which has
# the date of the version).

function replace(text, from, to,    at, done) {
    done = ""
    while ((at = index(text, from)) > 0) {
        done = done substr(text, 1, at - 1) to
        text = substr(text, at + length(from))
    }
    return done text
}

# The text as it is, whatever is special to roff. tests/man.sh has the inverse.
function escaped(text) {
    text = replace(text, "\\", "\\(rs")
    text = replace(text, "-", "\\-")
    text = replace(text, "'", "\\(aq")
    text = replace(text, "`", "\\(ga")
    text = replace(text, "^", "\\(ha")
    text = replace(text, "~", "\\(ti")
    if (text ~ /^[.]/) text = "\\&" text
    return text
}

# page_head("attn", 1, "1 2 3", "1 2 3, in short")
function page_head(name, section, summary,    line, date) {
    while ((getline line < changelog) > 0)
        if (date == "" && index(line, "## " version " - ") == 1) date = substr(line, length("## " version " - ") + 1)
    if (date == "") {
        print changelog ": no date of version " version > "/dev/stderr"
        exit failed = 1
    }
    print ".\\\" SPDX-License-Identifier: MIT-0"
    print ".TH " toupper(name) " " section " " date " \"attention.h " version "\""
    print ".SH NAME"
    print name " \\- " escaped(summary)
}
