#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and flags are lists
#
# flags.sh - whatever a user's compiler flags, attention.h gives the same bits or
# refuses to compile and says why: never a silently different answer. TAP.
#
# $CC is the compiler of the build. With FLAGS_ALL set, every gcc and clang that
# is installed, as C and C++, with every flag: some minutes. Otherwise $CC with
# those flags that break it if nothing is done.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
CC=${CC:-cc}
dir=${TMPDIR:-/tmp}/attn-flags.$$
mkdir "$dir" || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM
cd "$dir" || exit 99
LC_ALL=C
export LC_ALL

number=0

# What the same machine prints without flags.
if ! $CC -O1 -I"$top" "$top/tests/hash.c" -lm -o plain || ! ${RUN-} ./plain >wanted; then
    echo "not ok 1 - $CC without flags"
    echo 1..1
    exit 1
fi

refusal='error: .*(attention\.h: |attn__double_constants_are_double)|attention\.h cannot be compiled'

# Linked without the flags: linkers add code that flushes subnormals to zero for
# the whole program under some of them, and no header can help that.
try() { # NUMBER NAME FLAGS COMMAND...
    at=$1 name=$2 flags=$3
    shift 3
    verdict='not ok'
    if ! "$@" $flags -c -I"$top" "$top/tests/hash.c" -o "$at.o" >"$at.log" 2>&1; then
        grep -Eq "$refusal" "$at.log" && verdict=ok name="$name: refused"
    elif case $flags in *-flto*) "$@" $flags "$at.o" -lm -o "$at.run" ;; *) "$@" "$at.o" -lm -o "$at.run" ;; esac >"$at.log" 2>&1; then
        ${RUN-} "./$at.run" >"$at.got" 2>&1
        diff wanted "$at.got" >"$at.log" && verdict=ok name="$name: the same bits"
    fi
    {
        echo "$verdict $at - $name"
        [ "$verdict" = ok ] || sed 's/^/# /; 20q' "$at.log"
    } >"$at.tap"
}

check() { # COMPILER FLAGS: two at a time
    $1 $2 -fsyntax-only -x c /dev/null >/dev/null 2>&1 || return 0 # not of this compiler, or machine
    number=$((number + 1))
    try $number "$1 $2" "$2" $1 &
    [ $((number % 2)) = 1 ] || wait
}

associative='-fassociative-math -fno-signed-zeros -fno-trapping-math'
check_few() {
    for flags in -O3 -Ofast -funsafe-math-optimizations "$associative" '-O2 -freciprocal-math' '-O2 -ffp-contract=fast -march=native'; do
        check "$1" "$flags"
    done
}
check_all() {
    for flags in -O0 -O1 -O2 -O3 -Os -Ofast -ffast-math -ffinite-math-only -funsafe-math-optimizations "$associative" -fassociative-math \
        -freciprocal-math -fno-signed-zeros -fno-math-errno -frounding-math -fsingle-precision-constant -fexcess-precision=fast -fapprox-func \
        -ffp-model=fast -ffp-model=strict -ffp-contract=fast -mfpmath=387 -march=native '-O3 -march=native -ffp-contract=fast' \
        "-O3 -march=native $associative" -mavx2 '-mfma -mno-avx512f' -mno-sse4 -flto -m32 '-m32 -msse2 -mfpmath=sse' -std=c99 -std=gnu17; do
        case $flags in *-O*) ;; *) flags="-O2 $flags" ;; esac
        check "$1" "$flags"
    done
}

if [ -n "${FLAGS_ALL-}" ]; then
    seen=
    for compiler in gcc clang clang-14 clang-16 clang-19; do
        real=$(readlink -f "$(command -v $compiler)") && [ -n "$real" ] || continue
        case " $seen " in *" $real "*) continue ;; esac
        seen="$seen $real"
        check_all $compiler
    done
    for compiler in 'g++ -x c++' 'clang++ -x c++'; do check_few "$compiler"; done
else
    check_few "$CC"
fi
wait

failed=0
at=0
while [ $at -lt $number ]; do
    at=$((at + 1))
    cat $at.tap
    case $(cat $at.tap) in not*) failed=1 ;; esac
done
echo "1..$number"
exit $failed
