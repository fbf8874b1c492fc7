#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# `make check`: seeds, regressions and some pseudo-random inputs, in programs built
# by the compiler at hand without any fuzzing engine. $RUN: an emulator, which gets fewer;
# $EXEEXT: .exe or the like; $FUZZ_INPUTS: how many.
source=${srcdir:-$(dirname "$0")/..}/fuzz
targets=$(sed -n 's/^fuzz_targets = //p' "$source/local.mk")
inputs=${FUZZ_INPUTS:-${RUN:+1000}}
inputs=${inputs:-5000}
number=0

result() { # STATUS WHAT
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        sed 's/^/# /' fuzz-replay.log
        echo "not ok $number - $2"
    fi
}

for target in $targets; do
    LC_ALL=C sort -c -u "$source/seeds/$target.seeds" >fuzz-replay.log 2>&1
    result $? "$target: seeds are sorted, none twice"
    for files in "seeds/$target.seeds" "regressions/$target"; do
        [ -e "$source/$files" ] || continue
        # shellcheck disable=SC2086 # the emulator may have arguments
        ${RUN-} "./fuzz/$target${EXEEXT-}" "$source/$files" >fuzz-replay.log 2>&1
        result $? "$target: ${files%%/*}, $(tail -n 1 fuzz-replay.log)"
    done
    # shellcheck disable=SC2086
    ${RUN-} "./fuzz/$target${EXEEXT-}" -n "$inputs" >fuzz-replay.log 2>&1
    result $? "$target: pseudo-random, $(tail -n 1 fuzz-replay.log)"
done
rm -f fuzz-replay.log
echo "1..$number"
