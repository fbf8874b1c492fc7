#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086,SC2046,SC2317 # compilers and flags are lists; functions are called by name
#
# flags.sh - with any compiler flags, attention.h gives the same bits or refuses to compile
# and says why; it never gives a different result silently. TAP, with a table of flags and
# compilers at the end.
#
# $CC is the compiler of the build. With FLAGS_ALL set, tests every installed compiler with
# every flag, which takes half an hour. Otherwise only $CC, with the flags that would break
# the header without its checks.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
CC=${CC:-cc}
cd "$dir" || exit 99

# Leaves out the best path, which depends on the machine, not on flags.
run() { # PROGRAM
    ${RUN-} "$1" 2>&1 | grep -v '^best '
}

# What this machine prints without flags, to compare with.
if ! $CC -O1 -I"$top" "$top/check/hash.c" -lm -o plain || ! run ./plain >wanted || ! [ -s wanted ]; then
    echo "not ok 1 - $CC without flags"
    echo 1..1
    exit 1
fi

cat >probe.c <<'END'
#include <math.h>
#include <stdio.h>
int main(int argc, char **argv) { return argc > 1 && printf("%g %s", floor((double)argc), argv[1]) < 0; }
END

# Links without the flags: with some of them, linkers add code that flushes subnormals to zero
# for the whole program, which no header can prevent.
build() { # FLAGS SOURCE PROGRAM COMPILER...
    with=$1 source=$2 program=$3
    shift 3
    "$@" $with -c -I"$include" "$source" -o "$program.o" || return
    case $with in *-flto* | *-m32*) ;; *) with= ;; esac
    "$@" $with -x none "$program.o" -lm -o "$program"
}

# Why the header refused to compile: its #error text, or what clang says about the pragma.
refusal() { # LOG
    if grep -q 'error: .*attention\.h: ' "$1"; then
        sed -n 's/.*error: .*\(attention\.h: [^"]*\).*/\1/p;' "$1" | sed 1q
    elif grep -q 'error: .*attn__double_constants_are_double' "$1"; then
        echo "attn__double_constants_are_double"
    elif grep -q 'attention\.h cannot be compiled' "$1"; then
        sed -n "s/.*error: \\('#pragma.*\\)/\\1: attention.h cannot be compiled with that/p" "$1" | sed 1q
    fi
}

# Verdict and details of one cell of the table.
try() { # NAME FLAGS COMPILER...
    cell=$1 flags=$2
    shift 2
    include=$top
    if ! { build "$flags" probe.c "./$cell.probe" "$@" && ${RUN-} "./$cell.probe"; } >"$cell.log" 2>&1; then
        verdict=- # not an option of this compiler or machine
    elif build "$flags" "$top/check/hash.c" "./$cell.run" "$@" >"$cell.log" 2>&1; then
        run "./$cell.run" >"$cell.got"
        if diff wanted "$cell.got" >"$cell.log"; then verdict='same bits'; else verdict='WRONG BITS'; fi
    else
        message=$(refusal "$cell.log")
        verdict=${message:+refused: $message}
    fi
    echo "${verdict:-FAILS}" >"$cell.verdict"
    rm -f "./$cell.probe" "./$cell.probe.o" "./$cell.run" "./$cell.run.o"
}

# With the refusals removed the result is wrong: does attn_self_test notice?
try_unguarded() { # NAME FLAGS COMPILER...
    cell=$1 flags=$2
    shift 2
    include=$dir/unguarded
    build "$flags" "$include/check/hash.c" "./$cell.run" "$@" >"$cell.log" 2>&1
    run "./$cell.run" >"$cell.got"
    if diff wanted "$cell.got" >"$cell.log"; then verdict='same bits'; elif grep -q '^self-test: no error' "$cell.got"; then
        verdict='WRONG BITS, unnoticed'
    elif grep -q '^self-test: ' "$cell.got"; then verdict='wrong bits, noticed'; else verdict=FAILS; fi
    echo "$verdict" >"$cell.verdict"
}

rows=0
columns=0
running=0
fork() { # COMMAND...: runs two at a time
    "$@" &
    running=$((running + 1))
    [ $((running % 2)) = 1 ] || wait
}
compiler() { # COMMAND...: adds a column
    real=$(readlink -f "$(command -v "$1")")
    if [ -z "$real" ]; then
        echo "$*" >>missing
        return
    fi
    grep -Fqx "$real ${2-}" seen && return
    echo "$real ${2-}" >>seen
    columns=$((columns + 1))
    echo "$*" >column.$columns
}
row() { # FLAGS: adds a row, for every compiler
    rows=$((rows + 1))
    echo "$1" >row.$rows
    column=0
    while [ $column -lt $columns ]; do
        column=$((column + 1))
        fork try $rows.$column "$1" $(cat column.$column)
    done
}

: >missing
: >seen
associative='-fassociative-math -fno-signed-zeros -fno-trapping-math'
if [ -z "${FLAGS_ALL-}" ]; then
    compiler $CC
    for flags in -Ofast '-O2 -funsafe-math-optimizations' "-O2 $associative" '-O2 -freciprocal-math' '-Ofast -fno-fast-math' \
        '-O2 -ffp-contract=fast -march=native'; do
        row "$flags"
    done
else
    for name in gcc gcc-12 clang-14 clang-16 clang-19 i686-linux-gnu-gcc; do compiler $name; done
    for name in g++ clang++-19; do compiler $name -x c++; done
    for flags in -O0 -O1 -O2 -O3 -Os -Ofast '-Ofast -fno-fast-math' -ffast-math -ffinite-math-only -funsafe-math-optimizations "$associative" -fassociative-math \
        -freciprocal-math -fno-signed-zeros -fno-math-errno -frounding-math -fsingle-precision-constant -fexcess-precision=fast -fapprox-func \
        -ffp-model=fast -ffp-model=strict -ffp-contract=fast -mfpmath=387 '-msse2 -mfpmath=sse' -march=native \
        '-O3 -march=native -ffp-contract=fast' "-O3 -march=native $associative" -mavx2 '-mfma -mno-avx512f' -mno-sse4 -flto -m32 \
        '-m32 -msse2 -mfpmath=sse' -std=c99 -std=gnu17; do
        case $flags in *-O*) ;; *) flags="-O2 $flags" ;; esac
        row "$flags"
    done
    mkdir -p unguarded/check
    cp "$top/check/hash.c" "$top/check/hash_cases.h" unguarded/check/
    sed '/^#error "attention.h: -f/d; /^#pragma clang fp eval_method/d; /^#pragma STDC FENV_ACCESS/d; /^#define ATTN__MATH_WAS_FAST/d; /^#pragma GCC optimize("no-fast/d' "$top/attention.h" >unguarded/attention.h
    rows=$((rows + 1))
    echo '-O3 -march=native -ffast-math, refusals left out' >row.$rows
    at=0
    while [ $at -lt $columns ]; do
        at=$((at + 1))
        case $(cat column.$at) in
        i686*) echo - >$rows.$at.verdict ;; # no -march=native
        *) fork try_unguarded $rows.$at '-O3 -march=native -ffast-math' $(cat column.$at) ;;
        esac
    done
fi
wait

failed=0
row=0
: >messages
while [ $row -lt $rows ]; do
    row=$((row + 1))
    line="| \`$(cat row.$row)\` |"
    column=0
    while [ $column -lt $columns ]; do
        column=$((column + 1))
        cell=$row.$column
        verdict=$(cat $cell.verdict)
        case $verdict in
        refused:*) # the message as a note under the table
            grep -Fqx "${verdict#refused: }" messages || echo "${verdict#refused: }" >>messages
            line="$line refused ($(grep -Fnx "${verdict#refused: }" messages | sed 's/:.*//')) |"
            ;;
        *) line="$line $verdict |" ;;
        esac
        [ "$verdict" != - ] || continue
        [ ! -f $cell.log ] || cp $cell.log log
        case $verdict in
        'same bits' | refused:* | 'wrong bits, noticed') true ;;
        *) failed=1 && false ;;
        esac
        ok "$(cat column.$column) $(cat row.$row): $verdict"
    done
    echo "$line" >>table
done
while read -r name; do
    skip "$name" 'is not installed'
done <missing

# Where options for fast math are refused or undone, they are so in the other arithmetic, too.
$CC -O1 -DATTN_UNFUSED -I"$top" "$top/check/hash.c" -lm -o plain >log 2>&1 && run ./plain >unfused
if $CC -Ofast -DATTN_UNFUSED -c -I"$top" "$top/check/hash.c" -o fast.o >log 2>&1; then $CC fast.o -lm -o fast && run ./fast | diff unfused - >log; else [ -n "$(refusal log)" ]; fi
ok "$CC -Ofast, unfused: the same bits, or refused"

# Linkers that are told of fast math add code that flushes subnormal numbers to zero in the whole
# program, with all that they link. The program learns of it from attn_self_test.
cat >flushed.c <<'END'
int main(void) { volatile float least = 1.17549435e-38f, half = least * 0.5f; return half > 0; }
END
$CC -O1 -c -I"$top" "$top/check/hash.c" -o plain.o
if $CC -O1 -c flushed.c && $CC -Ofast flushed.o -o flushed && ${RUN-} ./flushed; then
    $CC -Ofast plain.o -lm -o plain && run ./plain | grep '^self-test: subnormal numbers are flushed' >log
    ok "$CC, linked with -Ofast: attn_self_test says that numbers are flushed"
else
    skip "$CC, linked with -Ofast" 'flushes nothing'
fi
$CC plain.o -lm -o plain && run ./plain | grep '^self-test: no error' >log
ok "$CC, linked without: no error"

head='| flags |' rule='|---|'
column=0
while [ $column -lt $columns ]; do
    column=$((column + 1))
    head="$head $(cat column.$column) |" rule="$rule---|"
done
{
    echo "$head"
    echo "$rule"
    cat table
    nl -w1 -s') ' messages | sed 's/^/(/'
    echo '- this compiler has no such flag, or this machine no libraries for it'
} | sed 's/^/# /'
plan
exit $failed
