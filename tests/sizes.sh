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
options=$(grep -o 'ATTN_NO_[A-Z0-9]*' "$top/attention.h" | sort -u | sed 's/^/-D/' | tr '\n' ' ')
row 'scalar alone' "$options"
for option in $options; do
    path=${option#-DATTN_NO_}
    others=$(for other in $options; do [ "$other" = "$option" ] || printf '%s ' "$other"; done)
    # a path that this machine does not have is not there without SIMDe; another only unfused
    echo "int main(void) { return !attn_path_compiled(ATTN_PATH_$path); }" | cat "$dir/program.c" - >"$dir/probe.c"
    for unfused in '' -DATTN_UNFUSED; do
        if $CC -O0 $others $unfused -I"$top" "$dir/probe.c" -o "$dir/probe" && ${RUN-} "$dir/probe"; then
            row "scalar and $path${unfused:+, unfused}" "$others $unfused"
            break
        fi
    done
done
row 'all paths of this machine' ''
