# SPDX-License-Identifier: MIT-0
#
# attention.3.awk - the manual page attention(3) from the manual and the
# declarations of attention.h.

function emit(line) { body[++body_lines] = line }

function emit_break() {
    if (body[body_lines] !~ /^\.SH/) emit(".PP")
}

function emit_filled(text,    at) {
    while (length(text) > 72) {
        for (at = 72; at > 1 && substr(text, at, 1) != " "; at--);
        if (at == 1) break
        emit(escaped(substr(text, 1, at - 1)))
        text = substr(text, at + 1)
    }
    emit(escaped(text))
}

# What the loop has gathered: text that fills lines, up to the first line that is
# indented or has columns; from there on lines as they are.
function end_paragraph(    i, text) {
    if (!lines) return
    for (i = 1; i <= lines && line[i] ~ /^[^ ]/ && line[i] !~ /[^ ]  +[^ ]/; i++)
        text = text (i > 1 ? " " : "") line[i]
    emit_break()
    if (i > 1) emit_filled(text)
    if (i <= lines) {
        emit(".nf")
        for (; i <= lines; i++) emit(line[i] == "" ? ".sp" : escaped(line[i]))
        emit(".fi")
    }
    lines = 0
}

function end_heading(text) {
    end_paragraph()
    end_declarations()
    emit(".SH " escaped(toupper(text)))
}

# A prototype in bold, broken after a comma where it is long.
function emit_prototype(text,    at) {
    while (length(text) > 76) {
        for (at = 76; at > 1 && substr(text, at - 1, 2) != ", "; at--);
        if (at == 1) break
        emit("\\fB" escaped(substr(text, 1, at - 1)) "\\fP")
        text = "    " substr(text, at + 1)
    }
    emit("\\fB" escaped(text) "\\fP")
}

# Declarations, and then the comment that stood before them.
function end_declarations(    i, text, comment) {
    if (declarations) {
        emit_break()
        emit(".nf")
        for (i = 1; i <= declarations; i++) {
            text = declaration[i]
            comment = ""
            if (text ~ /^[^;]*\); *\/\*/) {
                comment = substr(text, index(text, "/*"))
                text = substr(text, 1, index(text, ";"))
            }
            if (text ~ /^attn_|^size_t|^int|^const char/) emit_prototype(text)
            else emit(escaped(text))
            if (comment != "") emit(escaped("    " comment))
        }
        emit(".fi")
    }
    declarations = 0
    for (i = 1; i <= comments; i++) {
        if (saved[i] == "") end_paragraph()
        else line[++lines] = saved[i]
    }
    comments = 0
    end_paragraph()
}

NR <= 10 && /^ \* attention\.h - / { summary = substr($0, length(" * attention.h - ") + 1) }

# ------------------------------------------------------------------ the manual

/^ \* MANUAL$/ { part = "manual"; next }
part == "manual" && /^ \* =+\*\/$/ { end_heading("version"); part = "" }
part == "manual" && /^ \* ?=+$/ { next }
part == "manual" {
    text = substr($0, 4)
    if (text ~ /^[A-Z]/) end_heading(text)
    else if (text == "") blank = 1
    else {
        if (blank && (text !~ /^   / || line[lines] !~ /^ /)) end_paragraph()
        else if (blank && lines) line[++lines] = ""
        blank = 0
        line[++lines] = substr(text, 3)
    }
    next
}

# ------------------------------------------------------------ the declarations

/^#define ATTENTION_H$/ { part = "declarations"; next }
/^#endif \/\* ATTENTION_H \*\/$/ { end_declarations(); part = ""; exit }
part != "declarations" { next }

/^\/\* -+ .* -- \*\/$/ {
    text = $0
    gsub(/^\/\* -+ | -- \*\/$/, "", text)
    end_heading(text)
    next
}
in_typedef {
    declaration[++declarations] = $0
    if (/^}/) in_typedef = 0
    next
}
/^\/\*/ {
    end_declarations()
    in_comment = 1
}
in_comment {
    text = $0
    sub(/^\/?\* ?| \* ?/, "", text)
    if (text ~ / ?\*\/$/) {
        in_comment = 0
        sub(/ ?\*\/$/, "", text)
    }
    saved[++comments] = text
    next
}
/^typedef .*{$/ { in_typedef = 1 }
/^typedef / { declaration[++declarations] = $0; next }
/^#define ATTN_VERSION / { declaration[++declarations] = "#define ATTN_VERSION \"" version "\"" }
/^#define ATTN_[A-Z_]+ [^_]*$/ && !/ATTN_DEF/ { declaration[++declarations] = $0; next }
/^ATTN_DEF / { prototype = "" }
/^ATTN_DEF /, /;/ {
    text = $0
    sub(/^ +/, "", text)
    prototype = prototype (prototype == "" ? "" : " ") text
    if (text ~ /;/) {
        sub(/^ATTN_DEF /, "", prototype)
        sub(/ ATTN__[A-Z_]+;/, ";", prototype)
        declaration[++declarations] = prototype
    }
    next
}
/^$/ { end_declarations() }

END {
    if (failed) exit 1
    if (summary == "" || body_lines < 100) {
        print "attention.h has changed its form" > "/dev/stderr"
        exit 1
    }
    page_head("attention", 3, summary)
    print ".SH SYNOPSIS"
    print ".nf"
    print ".B #define ATTENTION_IMPLEMENTATION    // in exactly one source file"
    print ".B #include <attention.h>"
    print ".PP"
    print ".B cc $(pkg\\-config \\-\\-cflags attention) program.c"
    print ".fi"
    for (i = 1; i <= body_lines; i++) print body[i]
    print ".SH SEE ALSO"
    print ".BR attn (1)"
}
