# SPDX-License-Identifier: MIT-0
#
# roff.awk - functions that both manual pages need. Variables: version, and changelog, the
# file that gives the date of the version.

# The text as it is, whatever is special to roff. tests/man.sh has the inverse.
function escaped(text) {
    gsub(/\\/, "\\(rs", text)
    gsub(/-/, "\\-", text)
    gsub(/'/, "\\(aq", text)
    gsub(/`/, "\\(ga", text)
    gsub(/\^/, "\\(ha", text)
    gsub(/~/, "\\(ti", text)
    return (text ~ /^[.]/ ? "\\&" : "") text
}

# page_head("attn", 1, "summary")
function page_head(name, section, summary,    line, date) {
    while ((getline line < changelog) > 0)
        if (date == "" && index(line, "## " version " - ") == 1) date = substr(line, length("## " version " - ") + 1)
    if (date == "") {
        print changelog ": no date for version " version > "/dev/stderr"
        exit 1
    }
    print ".\\\" SPDX-License-Identifier: MIT-0"
    print ".TH " toupper(name) " " section " " date " \"attention.h " version "\""
    print ".SH NAME"
    print name " \\- " escaped(summary)
}
