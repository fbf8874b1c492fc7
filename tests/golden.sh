#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and emulators are lists
#
# golden.sh - the published bits: `attn hash` must print tests/golden.txt on every machine
# with fused arithmetic, and tests/golden-unfused.txt elsewhere. A program compiled here for
# the other arithmetic must print the other file. TAP, a test for each case.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

table() { # ARITHMETIC OUTPUT STATUS
    case $1 in fused) file=golden.txt ;; *) file=golden-$1.txt ;; esac
    while read -r name hash; do
        got=$(sed -n "s/^$name //p" "$2" | tr -d '\r') # Windows ends lines otherwise
        echo "wanted $hash, got $got" >"$dir/log"
        [ "$got" = "$hash" ]
        ok "$1: $name"
    done <"$top/tests/$file"
    [ "$3" = 0 ]
    ok "$1: all paths agree"
}

$attn hash >"$dir/own"
status=$?
if grep -q '^unfused ' "$dir/own"; then own=unfused other=fused; else own=fused other=unfused; fi
table $own "$dir/own" $status
${CC:-cc} -O1 "-DATTN_$(echo $other | tr '[:lower:]' '[:upper:]')" -I"$top" "$top/check/hash.c" -lm -o "$dir/hash.exe" && ${RUN-} "$dir/hash.exe" >"$dir/other"
table $other "$dir/other" $?
plan
