#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and flags are lists
#
# sizes.sh - what attention.h adds to a program: bytes of code and constants, and seconds to
# compile, for different choices of paths. $CC, $SIZE_FLAGS (default -O2).

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
CC=${CC:-cc}
flags=${SIZE_FLAGS:--O2}
size=$($CC -print-prog-name=size 2>/dev/null)
size=${size:-size}
printf '#define ATTENTION_IMPLEMENTATION\n#include "attention.h"\n' >"$dir/program.c"

row() { # NAME OPTIONS
    times >"$dir/before" # of this shell, then of its children
    $CC $flags $2 -I"$top" -c "$dir/program.c" -o "$dir/program.o" || exit 1
    times >"$dir/after"
    seconds=$(cat "$dir/before" "$dir/after" | awk 'NR % 2 == 0 { gsub(/[ms]/, " "); t = $1 * 60 + $2 + $3 * 60 + $4 - t } END { print t }')
    $size "$dir/program.o" | awk -v name="$1" -v seconds="$seconds" 'NR == 2 { printf "| %-30s | %7d | %7.1f |\n", name, $1 + $2, seconds }'
}

echo "$CC $flags, $($CC --version 2>/dev/null | head -n 1)"
echo
echo '| what                           |   bytes | seconds |'
echo '|--------------------------------|---------|---------|'
none='-DATTN_NO_SIMD128 -DATTN_NO_NEON -DATTN_NO_AVX2 -DATTN_NO_AVX512'
row 'scalar alone' "$none"
for path in SIMD128 NEON AVX2 AVX512; do
    options=$(echo "$none" | sed "s/-DATTN_NO_$path\$//; s/-DATTN_NO_$path //")
    # without SIMDe, paths of other machines are not compiled
    echo "int main(void) { return !attn_path_compiled(ATTN_PATH_$path); }" | cat "$dir/program.c" - >"$dir/probe.c"
    unfused=
    [ $path != SIMD128 ] || unfused=-DATTN_UNFUSED
    if ! $CC -O0 $options $unfused -I"$top" "$dir/probe.c" -o "$dir/probe" || ! ${RUN-} "$dir/probe"; then continue; fi
    row "scalar and $path${unfused:+, unfused}" "$options $unfused"
done
row 'all paths of this machine' ''
