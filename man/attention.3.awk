# SPDX-License-Identifier: MIT-0
#
# attention.3.awk - the manual page attention(3): the manual at the top of attention.h,
# preformatted. Its headings are the lines that begin with a capital at the left margin.

/^ \* attention\.h - / { summary = substr($0, length(" * attention.h - ") + 1) }
/^ \* MANUAL$/ { inside = 1; next }
inside && /\*\/$/ { exit }
!inside || /^ \* ?=+$/ { next }
{ text = substr($0, 4) }
text == "" { gap = ".sp\n"; next }
text ~ /^[A-Z]/ { page = page ".fi\n.SH " escaped(text) "\n.nf\n"; gap = ""; next }
{ sub(/^  /, "", text); page = page gap escaped(text) "\n"; gap = "" }

END {
    if (page == "") {
        print "attention.h has no manual" > "/dev/stderr"
        exit 1
    }
    page_head("attention", 3, summary)
    print ".SH SYNOPSIS\n.nf\n.B #define ATTENTION_IMPLEMENTATION    // in exactly one source file"
    print ".B #include <attention.h>\n.sp\n.B cc $(pkg\\-config \\-\\-cflags attention) program.c"
    print page ".fi\n.SH SEE ALSO\n.BR attn (1),"
    print "and the declarations in attention.h, which say what each function does."
}
