#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and runners are lists
#
# cross.sh - the same bits on every machine. For each target of the table below:
# configures a build as a user of that target would, runs tests, the fuzz corpus and
# the golden hashes in it, natively or emulated, and the hashes once more with
# the header alone. What is not installed is skipped.
#
#     cross.sh [-m FILE] [TARGET...]    in a build folder; without names: all
#
# -m writes the table of what the last run of each target found, in Markdown. The
# builds stay in cross/, and are made up to date by the next run.
# $CROSS_TESTS: the tests to run instead of the table's choice.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
LC_ALL=C
WINEDEBUG=-all
EMMAKEN_JUST_CONFIGURE=1 # emcc names its programs as configure expects
export LC_ALL WINEDEBUG EMMAKEN_JUST_CONFIGURE
PATH=$PATH:/usr/lib/wine # Debian has wine64 there

# A line is a target: `make check-NAME` follows from it.
#   host       configure's --host; empty: this machine
#   compiler   CC; empty: HOST-gcc
#   c++        compiles the implementation instead, if there is one
#   options    of configure
#   runner     runs the programs
#   path       that attn_best_path has to give, if that is known
#   tests      all, or some: those that take less than a second natively
#   packages   of Debian that have all this, besides gcc and libsimde-dev
# Emulation of the paths of other machines takes minutes to compile with -O2.
table() { sed 's/ *| */|/g; s/^ *//' <<'END_OF_TABLE'
x86-64         |                       |gcc                          |         |CFLAGS=-O2     |                        |      |all |
x86-64-v1      |                       |gcc -march=x86-64             |         |CFLAGS=-O2     |                        |      |some|
x86-64-v2      |                       |gcc -march=x86-64-v2          |         |CFLAGS=-O2     |                        |      |some|
x86-64-v3      |                       |gcc -march=x86-64-v3          |         |CFLAGS=-O2     |                        |      |some|
x86-64-v4      |                       |gcc -march=x86-64-v4          |         |CFLAGS=-O2     |                        |      |some|
nehalem        |                       |gcc                          |         |CFLAGS=-O2     |qemu-x86_64 -cpu Nehalem |scalar|some|qemu-user
haswell        |                       |gcc                          |         |CFLAGS=-O2     |qemu-x86_64 -cpu Haswell |avx2  |some|qemu-user
simde-no-native|                       |gcc -DSIMDE_NO_NATIVE        |         |CFLAGS=-O1     |                        |      |some|
no-simde       |                       |gcc                          |         |--without-simde CFLAGS=-O2|             |      |some|
clang-14       |                       |clang-14                     |         |CFLAGS=-O2     |                        |      |some|clang-14
clang-16       |                       |clang-16                     |         |CFLAGS=-O2     |                        |      |some|clang-16
clang-19       |                       |clang-19                     |         |CFLAGS=-O2     |                        |      |some|clang-19
gxx            |                       |gcc                          |g++      |CFLAGS=-O2     |                        |      |some|g++
clangxx        |                       |clang                        |clang++ -x c++|CFLAGS=-O2|                        |      |some|clang
tcc            |                       |tcc                          |         |--without-simde CFLAGS=    |            |scalar|some|tcc
i686           |i686-linux-gnu         |i686-linux-gnu-gcc -msse2 -mfpmath=sse||CFLAGS=-O1 |qemu-i386 -L /usr/i686-linux-gnu|scalar|some|gcc-i686-linux-gnu libc6-dev-i386-cross qemu-user
aarch64        |aarch64-linux-gnu      |                             |         |CFLAGS=-O1     |qemu-aarch64 -L /usr/aarch64-linux-gnu|neon|some|gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
aarch64-clang  |aarch64-linux-gnu      |clang --target=aarch64-linux-gnu|      |CFLAGS=-O2 --without-simde|qemu-aarch64 -L /usr/aarch64-linux-gnu|neon|some|clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
armhf          |arm-linux-gnueabihf    |arm-linux-gnueabihf-gcc -mfpu=neon-vfpv4|| CFLAGS=-O1   |qemu-arm -L /usr/arm-linux-gnueabihf|scalar|some|gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user
armhf-vfpv3    |arm-linux-gnueabihf    |                             |         |CFLAGS=-O1     |qemu-arm -cpu cortex-a8 -L /usr/arm-linux-gnueabihf|scalar|some|gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user
riscv64        |riscv64-linux-gnu      |                             |         |CFLAGS=-O1     |qemu-riscv64 -L /usr/riscv64-linux-gnu|scalar|some|gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user
ppc64le        |powerpc64le-linux-gnu  |                             |         |CFLAGS=-O1     |qemu-ppc64le -L /usr/powerpc64le-linux-gnu|scalar|some|gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross qemu-user
s390x          |s390x-linux-gnu        |                             |         |CFLAGS=-O1     |qemu-s390x -L /usr/s390x-linux-gnu|scalar|some|gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user
mingw          |x86_64-w64-mingw32     |x86_64-w64-mingw32-gcc -static|        |CFLAGS=-O1     |wine64                  |      |some|gcc-mingw-w64-x86-64 wine64
wasm           |wasm32-unknown-emscripten|emcc -sSINGLE_FILE=1 -sNODERAWFS=1 -sALLOW_MEMORY_GROWTH=1||CFLAGS=-O1|node  |scalar|some|emscripten nodejs
wasm-simd      |wasm32-unknown-emscripten|emcc -msimd128 -sSINGLE_FILE=1 -sNODERAWFS=1 -sALLOW_MEMORY_GROWTH=1||CFLAGS=-O1|node||some|emscripten nodejs
END_OF_TABLE
}

some='tests/element_types tests/errors tests/known_values tests/layer tests/matmul tests/presets tests/rotary
    tests/softmax_axis tests/strides tests/threads tests/varlen tests/weights tests/workspace tests/tool.sh'

have() { command -v "${1%% *}" >/dev/null 2>&1; }

say() { echo "$name: $*"; }

# The results that Automake's harness left, by the name of a test: PASS FAIL SKIP
results() { # RESULT FILE...
    result=$1
    shift
    cat "$@" 2>/dev/null | grep -c "^:test-result: $result"
}

wrong() { # WHAT FILE-TO-SHOW
    say "FAILED: $1"
    [ ! -f "$2" ] || tail -n 20 "$2" | sed "s/^/    /"
    failed=1
    verdict=FAILED
}

# The published hashes of one arithmetic, from the header alone.
header_alone() { # ARITHMETIC
    table_file=$top/tests/golden.txt
    [ "$1" = fused ] || table_file=$top/tests/golden-$1.txt
    $cc -O1 "-DATTN_$(echo "$1" | tr '[:lower:]' '[:upper:]')" -I"$top" "$top/tests/hash.c" -lm -o "hash-$1$exe" >"hash-$1.log" 2>&1 &&
        $runner "./hash-$1$exe" 2>>"hash-$1.log" | tr -d '\r' >"hash-$1.out" &&
        grep -v -e '^best ' -e '^self-test: no error$' "hash-$1.out" | diff "$table_file" - >>"hash-$1.log"
}

run() {
    cc=${compiler:-$host-gcc}
    for command in "$cc" "$runner" "$cxx"; do
        [ -z "$command" ] || have "$command" || {
            say "skipped: ${command%% *} is not installed${packages:+ (Debian: apt-get install $packages)}"
            return
        }
    done
    # Targets that differ in their runner alone share a build.
    build=cross/$(echo "$host $cc $cxx $options" | tr -cs 'A-Za-z0-9+.\n-' _)
    mkdir -p "$build"
    verdict=passed
    here=$PWD
    cd "$build" || exit 99
    if ! [ -f Makefile ]; then
        "$top/configure" ${host:+--host="$host"} CC="$cc" $options >configure.out 2>&1 || {
            rm -f Makefile
            wrong configure configure.out
            cd "$here" || exit 99
            return
        }
    fi
    find . -name '*.trs' -exec rm -f {} +
    exe=$(sed -n 's/^EXEEXT = //p' Makefile)
    case $tests in all) chosen= ;; *) chosen="$some tests/golden.sh fuzz/replay.sh" ;; esac
    chosen=${CROSS_TESTS:-$chosen}
    programs=
    for test in ${chosen:+$chosen $(sed -n 's/^fuzz_targets = //p' "$top/fuzz/local.mk" | sed 's|[^ ]*|fuzz/&|g')}; do
        case $test in *.sh) ;; *) programs="$programs $test$exe" ;; esac
    done
    chosen=$(for test in $chosen; do case $test in *.sh) echo "$test" ;; *) echo "$test$exe" ;; esac; done | tr '\n' ' ')
    {
        if [ -n "$cxx" ]; then make tests/attn_impl.o CC="$cxx" CFLAGS="-O2 -std=c++11"; fi &&
            make check FUZZ_INPUTS=100 LOG_COMPILER="$runner" ${chosen:+TESTS="$chosen" check_PROGRAMS="$programs"}
    } >check.out 2>&1 || wrong "make check (log: $build/check.out)" check.out

    passes=$(find . -name '*.trs' -exec cat {} + | grep -c '^:test-result: PASS')
    failures=$(find . -name '*.trs' -exec cat {} + | grep -c -e '^:test-result: FAIL' -e '^:test-result: ERROR')
    [ "$passes" -gt 0 ] || [ "$verdict" != passed ] || wrong "no test ran" check.out
    inputs=$(sed -n 's/^ok .*: \(seeds\|regressions\), \([0-9]*\) inputs.*/\2/p' fuzz/replay.log 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')
    paths=$($runner "./attn$exe" info 2>/dev/null | tr -d '\r' | awk '$3 == "yes" { printf "%s%s", sep, $1 ($4 == "yes" ? "" : "*"); sep = ", " }')
    own=$($runner "./attn$exe" info 2>/dev/null | tr -d '\r' | sed -n 's/^arithmetic *//p')
    best=$($runner "./attn$exe" info 2>/dev/null | tr -d '\r' | sed -n 's/^best path *//p')
    [ -z "$path" ] || [ "$best" = "$path" ] || wrong "attn_best_path gives $best, not $path" ''
    hashes=
    if [ "$(results PASS tests/golden.trs)" -gt 0 ] && [ "$(results FAIL tests/golden.trs)" = 0 ]; then hashes=$own; fi
    alone=
    for arithmetic in fused unfused; do
        [ $arithmetic = fused ] || [ -f "$top/tests/golden-$arithmetic.txt" ] || continue
        if header_alone $arithmetic; then alone="$alone${alone:+, }$arithmetic"; else
            wrong "hashes of the header alone, $arithmetic" "hash-$arithmetic.log"
        fi
    done
    say "$verdict: $passes tests ($failures failed), $inputs corpus files, $own: $paths; golden hashes: ${hashes:-none}; header alone: ${alone:-none}"
    failed_tests=
    [ "$verdict" = passed ] || failed_tests=", **$failures failed**"
    cd "$here" || exit 99
    {
        # What it was, for the heading; then the row.
        printf '%s|%s|%s\n' "$(date -u +%Y-%m-%d)" "$(cksum <"$top/attention.h")" "$($cc --version 2>/dev/null | head -n 1)"
        echo "| $name | \`${cxx:-$cc}\` | ${runner:+\`${runner%% -L*}\`} | $paths | $own | $passes$failed_tests | $inputs | ${hashes:-**no**} | ${alone:-**no**} |"
    } >"cross/$name.row"
}

write_matrix() { # FILE
    {
        echo "# Where attention.h was built and run"
        echo
        echo "Written by \`make matrix\` from a run; not by hand. \`make check-NAME\` repeats a line."
        echo
        echo "Paths: those that ran; * through SIMDe. Arithmetic: the default there. Tests: results"
        echo "of the test programs, the tool and the hashes. Corpus: files of fuzz/seeds and"
        echo "fuzz/regressions. Hashes: of \`attn hash\`, by all of these paths, equal to those in"
        echo "tests/; header alone: the same without SIMDe, in both arithmetics."
        echo
        echo "| target | compiler | runner | paths | arithmetic | tests passed | corpus | hashes equal | header alone |"
        echo "|---|---|---|---|---|---|---|---|---|"
        table | while IFS='|' read -r name rest; do
            if [ -f "cross/$name.row" ]; then sed -n 2p "cross/$name.row"; else echo "| $name | not run: not installed | | | | | | | |"; fi
        done
        echo
        echo "| target | date | compiler |"
        echo "|---|---|---|"
        current=$(cksum <"$top/attention.h")
        table | while IFS='|' read -r name rest; do
            [ ! -f "cross/$name.row" ] || IFS='|' read -r date sum version <"cross/$name.row"
            [ ! -f "cross/$name.row" ] || echo "| $name | $date$([ "$sum" = "$current" ] || echo ', an earlier attention.h') | $version |"
        done
        echo
        echo "SIMDe $(simde_version), $(qemu-aarch64 --version 2>/dev/null | head -n 1), node $(node --version 2>/dev/null), $(wine64 --version 2>/dev/null), on $(uname -m)."
    } >"$1"
}

simde_version() {
    printf '#include <simde/simde-common.h>\nSIMDE_VERSION_MAJOR SIMDE_VERSION_MINOR SIMDE_VERSION_MICRO\n' | ${CC:-cc} -E -P - 2>/dev/null | tail -n 1 | tr ' ' .
}

matrix=
if [ "${1-}" = -m ]; then
    matrix=$2
    shift 2
fi
failed=0
known=$(table | sed 's/|.*//')
for name in "$@"; do
    echo "$known" | grep -qx -e "$name" || {
        echo "cross.sh: no target $name; there are: $(echo "$known" | tr '\n' ' ')" >&2
        exit 2
    }
done
mkdir -p cross
table >cross/table
while IFS='|' read -r name host compiler cxx options runner path tests packages <&3; do
    case " ${*:-$name} " in *" $name "*) run ;; esac
done 3<cross/table
[ -z "$matrix" ] || write_matrix "$matrix"
exit $failed
