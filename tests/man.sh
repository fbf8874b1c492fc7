#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# man.sh - the manual pages hold what the program's help and the header's manual say,
# and mandoc, groff and lexgrog accept them. Runs in the build folder. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

# The inverse of escaped() in man/roff.awk.
plain() {
    sed 's/\\-/-/g; s/\\(aq/'"'"'/g; s/\\(ga/`/g; s/\\(ha/^/g; s/\\(ti/~/g; s/^\\&//; s/\\f[BP]//g; s/^\.sp$//; s/\\(rs/\\/g' "$@"
}

# $attn is not quoted: it may begin with an emulator and its arguments.
commands=$($attn --help | tr -d '\r' | sed -n '/^Commands/,/^  --version/s/^  \([a-z]*\) .*/\1/p')
[ -n "$commands" ]
ok 'attn --help lists commands'
for command in $commands; do
    $attn "$command" --help | tr -d '\r' >"$dir/help"
    plain man/attn.1 | awk -v command="$command" '
        /^\.S[SH] / { inside = $1 == ".SS" && $2 == command; if (inside) print "attn " substr($0, 5) "\n"; next }
        inside && !/^\.(nf|fi)$/' >"$dir/page"
    diff "$dir/help" "$dir/page" >"$dir/log"
    ok "attn(1) has the text of attn $command --help"
done
[ "$(grep -c '^\.SS ' man/attn.1)" -eq "$(echo "$commands" | wc -w)" ]
ok 'attn(1) has no other command'

# The lines of the header's manual without their indentation, and those of the page.
sed -n '/^ \* MANUAL$/,/\*\/$/s/^ \* *//p' "$top/attention.h" | grep -v '^MANUAL$\|^=*$\|^=*\*/$\|^$' >"$dir/manual"
sed -e '1,/^\.B cc /d' -e '/^\.SH SEE ALSO$/,$d' -e 's/^\.SH //' -e '/^\.[a-z]/d' man/attention.3 | plain | sed -e 's/^ *//' -e '/^$/d' >"$dir/page"
[ "$(wc -l <"$dir/manual")" -gt 50 ] && diff "$dir/manual" "$dir/page" >"$dir/log"
ok 'attention(3) has every line of the manual in attention.h'
sed -n '/^ \* MANUAL$/,/\*\/$/s/^ \* \([A-Z].*\)/\1/p' "$top/attention.h" | grep -v '^MANUAL$' >"$dir/headings"
{ printf '%s\n' NAME SYNOPSIS && cat "$dir/headings" && echo 'SEE ALSO'; } >"$dir/sections"
[ "$(wc -l <"$dir/headings")" -gt 5 ] && plain man/attention.3 | sed -n 's/^\.SH //p' | diff "$dir/sections" - >"$dir/log"
ok 'attention(3) has a section for each heading of the manual'

pages='man/attn.1 man/attention.3'
if [ -f man/attn-mpi.1 ]; then
    pages="$pages man/attn-mpi.1"
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 $MPIRUN -n 1 ./attn-mpi --help </dev/null >"$dir/help" 2>"$dir/log"
    plain man/attn-mpi.1 | sed -e '1,/^\.SH OPTIONS$/d' -e '/^\.SH EXIT STATUS$/,$d' -e '/^\.[nf][fi]$/d' >"$dir/page"
    [ "$(wc -l <"$dir/page")" -gt 30 ] && tail -n +5 "$dir/help" | diff - "$dir/page" >>"$dir/log"
    ok 'attn-mpi(1) has the text of attn-mpi --help'
else
    skip 'attn-mpi(1)' 'no MPI'
fi
for page in $pages; do
    if command -v mandoc >/dev/null; then
        mandoc -Tlint "$page" >"$dir/log" 2>&1 && [ ! -s "$dir/log" ]
        ok "$page: mandoc -Tlint"
    else
        skip "$page: mandoc -Tlint" 'no mandoc'
    fi
    if command -v lexgrog >/dev/null; then # which finds the line that man -k shows
        name=${page#man/}
        lexgrog "$page" >"$dir/log" 2>&1 && grep -q ": \"${name%.?} - [^ ]" "$dir/log"
        ok "$page: lexgrog"
    else
        skip "$page: lexgrog" 'no lexgrog'
    fi
    if command -v groff >/dev/null && command -v man >/dev/null; then
        MANWIDTH=80 man --warnings -l -Z "$page" >/dev/null 2>"$dir/log" && [ ! -s "$dir/log" ]
        ok "$page: man --warnings"
    else
        skip "$page: man --warnings" 'no man or no groff'
    fi
done
plan
