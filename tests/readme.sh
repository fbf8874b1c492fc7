#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2086 # $CC is a list
#
# readme.sh - every example in README.md is the file it names, and compiles and
# runs as shown: <!-- example: FILE --> stands before its fenced block. TAP.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
dir=${TMPDIR:-/tmp}/attn-readme.$$
mkdir "$dir" || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM

number=0
ok() { # NAME: the last command decides
    status=$?
    number=$((number + 1))
    [ $status = 0 ] || printf 'not '
    echo "ok $number - $1"
}

block() { # FILE: the lines of its block
    awk -v comment="<!-- example: $1 -->" '
        inside && /^```/ { exit }
        inside { print }
        found && /^```/ { inside = 1 }
        $0 == comment { found = 1 }' "$top/README.md"
}

examples=$(sed -n 's/^<!-- example: \(.*\) -->$/\1/p' "$top/README.md")
[ -n "$examples" ]
ok "README.md has examples"
for file in $examples; do
    block "$file" >"$dir/shown.c"
    [ -s "$dir/shown.c" ] && diff "$dir/shown.c" "$top/$file" | sed 's/^/# /' >"$dir/diff"
    cat "$dir/diff"
    [ -s "$dir/shown.c" ] && ! [ -s "$dir/diff" ]
    ok "$file is shown as it is"
    cp "$top/attention.h" "$dir"
    (cd "$dir" && ${CC:-cc} -O2 -Wall -Wextra -Werror shown.c -o shown -lm) 2>&1 | sed 's/^/# /'
    [ -x "$dir/shown" ]
    ok "$file compiles as shown, beside attention.h"
    ${RUN-} "$dir/shown" >"$dir/output"
    ok "$file runs"
    sed 's/^/# /' "$dir/output"
done
echo "1..$number"
