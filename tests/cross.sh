#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers, flags and emulators are lists
#
# cross.sh - the same bits on every machine: builds tests/hash.c for each target
# that has a compiler here, with and without SIMDe, runs it natively or emulated
# and compares it with what this machine prints. TAP; what is not installed is
# skipped. Arguments choose targets by the beginning of their names.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
CC=${CC:-cc}
dir=${TMPDIR:-/tmp}/attn-cross.$$
mkdir "$dir" || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM
cd "$dir" || exit 99
LC_ALL=C
export LC_ALL
WINEDEBUG=-all
export WINEDEBUG

# SIMDe is headers only; cross compilers do not look where the system has it.
mkdir include
for place in ${SIMDE:-/usr/include /usr/local/include}; do
    [ -d "$place/simde" ] && ln -s "$place/simde" include/simde && break
done
wine=$(command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null)

# name | compiler and flags | emulator | path that is chosen, if that is known
targets="
x86_64-nehalem|gcc|qemu-x86_64 -cpu Nehalem|scalar
x86_64-haswell|gcc|qemu-x86_64 -cpu Haswell|avx2
x86_64-v3|gcc -march=x86-64-v3||
x86_64-no-native|gcc -DSIMDE_NO_NATIVE||
x86_64-clang|clang||
x86_64-tcc|tcc||scalar
i686|i686-linux-gnu-gcc -msse2 -mfpmath=sse|qemu-i386|scalar
i686-x87|i686-linux-gnu-gcc|refused|
aarch64|aarch64-linux-gnu-gcc|qemu-aarch64|neon
armhf|arm-linux-gnueabihf-gcc|qemu-arm|scalar
armhf-neon|arm-linux-gnueabihf-gcc -mfpu=neon-vfpv4|qemu-arm|scalar
riscv64|riscv64-linux-gnu-gcc|qemu-riscv64|scalar
ppc64le|powerpc64le-linux-gnu-gcc|qemu-ppc64le|scalar
s390x|s390x-linux-gnu-gcc|qemu-s390x|scalar
mingw|x86_64-w64-mingw32-gcc|${wine:-wine}|
"

have() { command -v "${1%% *}" >/dev/null 2>&1; }
wanted() { # does an argument choose it?
    [ -n "$chosen" ] || return 0
    for prefix in $chosen; do
        case $1 in "$prefix"*) return 0 ;; esac
    done
    return 1
}
chosen=$*

if ! $CC -O1 -I"$top" "$top/tests/hash.c" -lm -o native || ! ./native >native.out; then
    echo 'not ok 1 - this machine'
    echo 1..1
    exit 1
fi
grep -v '^best ' native.out >golden

run() { # NUMBER NAME COMPILER EMULATOR BEST
    link=-static
    case $3 in tcc*) link= ;; esac
    verdict='not ok'
    if ! $3 -O1 -Iinclude -I"$top" "$top/tests/hash.c" $link -lm -o "$1.exe" >"$1.log" 2>&1; then
        [ "$4" = refused ] && grep -q 'error: .*attention\.h: ' "$1.log" && verdict=ok
    elif $4 "./$1.exe" 2>>"$1.log" | tr -d '\r' >"$1.out" && grep -v '^best ' "$1.out" | diff golden - >>"$1.log"; then
        verdict=ok
        [ -z "$5" ] || grep -q "^best $5\$" "$1.out" || verdict='not ok'
    fi
    {
        echo "$verdict $1 - $2 $(grep '^best ' "$1.out" 2>/dev/null)"
        [ "$verdict" = ok ] || sed 's/^/# /; 20q' "$1.log"
    } >"$1.tap"
}

number=0
echo "$targets" | grep . >list
while IFS='|' read -r name compiler emulator best; do
    wanted "$name" || continue
    for simde in '' ' -DATTN_USE_SIMDE'; do
        number=$((number + 1))
        if ! have "$compiler"; then
            echo "ok $number - $name # SKIP no ${compiler%% *}" >$number.tap
        elif [ -n "$emulator" ] && [ "$emulator" != refused ] && ! have "$emulator"; then
            echo "ok $number - $name # SKIP no ${emulator%% *}" >$number.tap
        elif [ -n "$simde" ] && [ ! -d include/simde ]; then
            echo "ok $number - $name # SKIP no SIMDe" >$number.tap
        else
            run $number "$name${simde:+ with SIMDe}" "$compiler$simde" "$emulator" "$best" &
            [ $((number % 2)) = 1 ] || wait
        fi
    done
done <list
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
