# SPDX-License-Identifier: MIT-0
#
# attn.1.awk - the manual page attn(1), made from the help texts of the program:
# string literals in tools/*.c, by help.awk. tool.h must be the first file.

/^const char [a-z]+_help\[\] =/ {
    command = substr($3, 1, index($3, "_") - 1)
    in_help = 1
}
in_help {
    help[command] = help[command] literals($0)
    if ($0 ~ /;$/) in_help = 0
    next
}

# {"name", "summary", name_help, name_command},
/^} commands\[\]/ { in_table = 1; next }
in_table && /^};/ { in_table = 0 }
in_table {
    order[++commands] = $1
    gsub(/[^a-z]/, "", order[commands])
}

END {
    page_head("attn", 1, "self-attention on the CPU, on .npy files and on sentences")
    print ".SH SYNOPSIS"
    print ".nf"
    for (i = 1; i <= commands; i++) {
        if (help[order[i]] == "") {
            print "no help for " order[i] > "/dev/stderr"
            exit 1
        }
        count = split(help[order[i]], lines, "\n")
        for (k = 1; k <= count; k++)
            if (index(lines[k], "  attn " order[i]) == 1) print "\\fB" escaped(substr(lines[k], 3)) "\\fP"
    }
    print ".B attn \\-\\-help"
    print ".B attn \\-\\-version"
    print ".fi"
    print ".SH DESCRIPTION"
    print "Computes attention with"
    print ".BR attention (3)."
    print "Results have the same bits on every machine, with every code path and any number"
    print "of threads."
    print "Arrays are read from and written to files in NumPy's .npy format."
    print "On a terminal, work of more than a second shows how far it is."
    print ".SH COMMANDS"
    for (i = 1; i <= commands; i++) {
        count = split(help[order[i]], lines, "\n")
        print ".SS " escaped(substr(lines[1], length("attn ") + 1))
        print ".nf"
        for (k = 3; k < count; k++) print (lines[k] == "" ? ".sp" : escaped(lines[k]))
        print ".fi"
    }
    print ".SH EXIT STATUS"
    print "0 on success, 2 on error: one line on standard error says what is wrong, and no"
    print "file is written."
    print ".SH ENVIRONMENT"
    print ".TP"
    print ".B ATTN_PATH"
    print "The code path to use without"
    print ".BR \\-\\-path ."
    print ".TP"
    print ".B TERM"
    print "If it is"
    print ".BR dumb ,"
    print "no progress is shown."
    print ".SH SEE ALSO"
    print ".BR attention (3)"
}
