# SPDX-License-Identifier: MIT-0
#
# help.awk - reads help texts of programs, for their manual pages: string literals in C. tool.h must be the first file.

# The macros of tool.h that are named in what is between literals.
function expanded(code,    text, word, count, i) {
    count = split(code, word, /[^A-Z_]+/)
    for (i = 1; i <= count; i++) text = text macro[word[i]]
    return text
}

# The text of the string literals in a line of C, and of the macros among them.
function literals(line,    text, c) {
    text = ""
    while ((c = index(line, "\"")) > 0) {
        text = text expanded(substr(line, 1, c - 1))
        line = substr(line, c + 1)
        while ((c = substr(line, 1, 1)) != "\"" && c != "") {
            if (c == "\\") {
                line = substr(line, 2)
                c = substr(line, 1, 1)
                if (c == "n") c = "\n"
            }
            text = text c
            line = substr(line, 2)
        }
        line = substr(line, 2)
    }
    return text expanded(line)
}

/^#define [A-Z_]*_HELP / { in_macro = $2 }
in_macro {
    macro[in_macro] = macro[in_macro] literals($0)
    if ($0 !~ /\\$/) in_macro = ""
    next
}

