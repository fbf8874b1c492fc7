#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers are lists
#
# neon_mca.sh - how near to the machine are the NEON loops, where there is no Arm
# machine to ask? Compiles attention.h for AArch64 as a user does (-O2, nothing
# else), takes out the innermost loop with the most fused multiply-adds, and has
# llvm-mca count its cycles. TAP: the register tile has to reach 95 % of the
# multiply-adds that the core can start; the loop of exp has to reach 90 % of what
# its vector instructions allow.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
dir=${TMPDIR:-/tmp}/attn-mca.$$
mkdir "$dir" || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM
LC_ALL=C
export LC_ALL

newest() { # NAME: the one with the largest version, or the one without
    for tool in "$1"-23 "$1"-22 "$1"-21 "$1"-20 "$1"-19 "$1"; do
        command -v "$tool" && return
    done
}
mca=$(newest llvm-mca)
clang=$(newest clang)
if ! echo nop | ${mca:-false} -mtriple=aarch64 -mcpu=neoverse-v2 >/dev/null 2>&1; then
    echo '1..0 # SKIP there is no llvm-mca that knows the Neoverse V2 (version 17 or later)'
    exit 0
fi
cat >"$dir/all.c" <<'C'
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
C

number=0
bad=0
# core | 128-bit vector instructions that it starts in a cycle
cores='neoverse-n1|2 neoverse-v1|4 neoverse-v2|4'

# An address that an instruction moves on is there in the next cycle; llvm-mca has it wait for what is loaded or stored.
judge() { # COMPILER FUNCTION WHAT TO-COUNT LEAST
    awk -v name="$2" -v wanted='^fmla$' -f "$top/bench/hot_loop.awk" "$dir/code.s" |
        sed -E 's/^(.*\[(x[0-9]+)\]), #(-?[0-9]+)$/\1\n\tadd \2, \2, #\3/' >"$dir/loop.s"
    for core in $cores; do
        width=${core#*|}
        core=${core%|*}
        number=$((number + 1))
        line=$($mca -mtriple=aarch64 -mcpu="$core" -iterations=1000 "$dir/loop.s" 2>/dev/null |
            awk -v count="$(grep -Ec "$4" "$dir/loop.s")" -v all="$(wc -l <"$dir/loop.s")" -v width="$width" -v least="$5" '
                /^Total Cycles:/ { cycles = $3 / 1000 }
                END {
                    rate = cycles ? count / cycles : 0
                    printf "%s %d of %d instructions in %.2f cycles, %.2f of %d a cycle, %.1f %%",
                        (rate >= least * width ? "ok" : "not ok"), count, all, cycles, rate, width, 100 * rate / width
                }')
        case $line in ok*) verdict=ok ;; *) verdict='not ok' bad=1 ;; esac
        echo "$verdict $number - $1, $core, $3: ${line#"$verdict "}"
    done
}

for compiler in "${AARCH64_GCC:-aarch64-linux-gnu-gcc}" "${AARCH64_CLANG:-${clang:-clang} --target=aarch64-linux-gnu}"; do
    if ! command -v "${compiler%% *}" >/dev/null; then
        number=$((number + 1))
        echo "ok $number - ${compiler%% *} # SKIP not installed"
        continue
    fi
    if ! $compiler -O2 -S -I"$top" "$dir/all.c" -o "$dir/code.s"; then
        number=$((number + 1))
        echo "not ok $number - $compiler compiles attention.h"
        bad=1
        continue
    fi
    name=$(basename "${compiler%% *}")
    for type in f32 f64; do
        for loop in multiply_ahead score_keys sum_values; do
            judge "$name" "attn__neon_${type}_$loop" "$loop, $type" '^[[:space:]]*fmla[[:space:]]' 0.95
        done
    done
    judge "$name" attn__neon_f32_weigh "exp, f32" '^[[:space:]]*[a-z0-9]+[[:space:]]+v[0-9]+\.' 0.9
done
echo "1..$number"
exit $bad
