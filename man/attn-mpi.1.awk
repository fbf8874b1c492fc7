# SPDX-License-Identifier: MIT-0
#
# attn-mpi.1.awk - the manual page attn-mpi(1), made from the help text of the program, by help.awk.

/^const char mpi_help\[\] =/ { in_help = 1 }
in_help {
    help = help literals($0)
    if ($0 ~ /;$/) in_help = 0
}

END {
    count = split(help, lines, "\n")
    if (count < 10) {
        print "no help for attn-mpi" > "/dev/stderr"
        exit 1
    }
    page_head("attn-mpi", 1, "self-attention over the ranks of MPI, on .npy files")
    print ".SH SYNOPSIS"
    print ".nf"
    print "\\fB" escaped(substr(lines[3], 3)) "\\fP"
    print ".B attn\\-mpi \\-\\-help"
    print ".B attn\\-mpi \\-\\-version"
    print ".fi"
    print ".SH DESCRIPTION"
    print "Results have the bits of"
    print ".BR attn (1)"
    print "in one process, for any number of ranks."
    print "What travels between ranks, and what it costs, is in the manual of"
    print ".I attention_mpi.h"
    print "and in"
    print ".IR doc/distributed.md ."
    print ".SH OPTIONS"
    print ".nf"
    for (k = 5; k < count; k++) print (lines[k] == "" ? ".sp" : escaped(lines[k]))
    print ".fi"
    print ".SH EXIT STATUS"
    print "0 on success, 2 on error."
    print ".SH SEE ALSO"
    print ".BR attn (1),"
    print ".BR attention (3)"
}
