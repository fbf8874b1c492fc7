#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# golden.sh - the published bits: `attn hash` prints tests/golden.txt on every
# machine whose arithmetic is that of the file. TAP, a test for each case.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
number=0
output=$(${RUN-} "${ATTN:-./attn}" hash)
status=$?
while read -r name hash; do
    number=$((number + 1))
    got=$(printf '%s\n' "$output" | sed -n "s/^$name //p")
    if [ "$got" = "$hash" ]; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        echo "# wanted $hash, got $got"
    fi
done <"$top/tests/golden.txt"
number=$((number + 1))
[ $status = 0 ] || printf 'not '
echo "ok $number - all paths agree"
echo "1..$number"
