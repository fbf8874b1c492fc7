#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# man.sh - the manual pages say what the program and the header say, and those
# who read manual pages for faults find none. In the folder of the build. TAP.

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
    ok "attn(1) says what attn $command --help says"
done
[ "$(grep -c '^\.SS ' man/attn.1)" -eq "$(echo "$commands" | wc -w)" ]
ok 'attn(1) has no other command'

plain man/attention.3 >"$dir/page"
sed '/^#endif \/\* ATTENTION_H \*\/$/q' "$top/attention.h" | sed -n 's/^ATTN_DEF [^(]*[ *]\(attn_[a-z0-9_]*\)(.*/\1/p' >"$dir/functions"
[ "$(wc -l <"$dir/functions")" -gt 20 ] && while read -r name; do
    grep -q "[ *]$name(" "$dir/page" || echo "$name"
done <"$dir/functions" >"$dir/log" && [ ! -s "$dir/log" ]
ok 'attention(3) declares every function of attention.h'
sed '/^#endif \/\* ATTENTION_H \*\/$/q' "$top/attention.h" | tr -cs 'A-Z0-9a-z_' '\n' | grep '^ATTN_[A-Z0-9_]*$' | grep -v '__\|^ATTN_DEF$' | sort -u >"$dir/names"
[ "$(wc -l <"$dir/names")" -gt 50 ] && while read -r name; do
    grep -qw "$name" "$dir/page" || echo "$name"
done <"$dir/names" >"$dir/log" && [ ! -s "$dir/log" ]
ok 'attention(3) has every constant and macro'

for page in man/attn.1 man/attention.3; do
    if command -v mandoc >/dev/null; then
        mandoc -Tlint "$page" >"$dir/log" 2>&1 && [ ! -s "$dir/log" ]
        ok "$page: mandoc -Tlint"
    else
        skip "$page: mandoc -Tlint" 'no mandoc'
    fi
    if command -v groff >/dev/null && command -v man >/dev/null; then
        MANWIDTH=80 man --warnings -l -Z "$page" >/dev/null 2>"$dir/log" && [ ! -s "$dir/log" ]
        ok "$page: man --warnings"
    else
        skip "$page: man --warnings" 'no man or no groff'
    fi
done
plan
