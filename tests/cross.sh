#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and runners are lists
#
# cross.sh - checks that every target of targets.txt gives the same bits. For each target
# it configures a build as a user of that target would; runs tests, the fuzz corpus and the
# golden hashes, natively or emulated; and computes the hashes once more with the header
# alone. Targets whose compiler or emulator is not installed are skipped.
#
#     cross.sh [TARGET...]    run in a build folder; all targets if none are named
#     cross.sh -w FILE        write the results of each target's last run as Markdown
#
# The builds stay in cross/ and are brought up to date by the next run. $CROSS_TESTS (all,
# some, few, or names of tests) overrides the choice in targets.txt.

top=$(cd "${srcdir:-.}" && pwd) || exit 99
LC_ALL=C
WINEDEBUG=-all
EMMAKEN_JUST_CONFIGURE=1 # emcc names its programs as configure expects
export LC_ALL WINEDEBUG EMMAKEN_JUST_CONFIGURE
PATH=$PATH:/usr/lib/wine # Debian has wine64 there

table() { sed -e '/^#/d' -e 's/ *| */|/g' "$top/tests/targets.txt"; }

few='tests/errors tests/known_values tests/layer tests/matmul tests/library_conventions tests/rotary tests/softmax_axis
    tests/windows_adapter tests/golden.sh fuzz/replay.sh'
some="$few tests/c11_adapter tests/element_types tests/pthread_adapter tests/strides tests/packed_sequences tests/weights tests/workspace tests/tool.sh"

have() { command -v "${1%% *}" >/dev/null 2>&1; }

# shellcheck source=check/progress.sh
. "$top/check/progress.sh"
say() {
    progress_off
    echo "$name: $*"
}

# Counts the results of one kind (PASS, FAIL, SKIP) in the files that Automake's harness left.
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

# Does the header alone give the published hashes of one arithmetic?
header_alone() { # ARITHMETIC
    table_file=$top/tests/golden.txt
    [ "$1" = fused ] || table_file=$top/tests/golden-$1.txt
    $cc -O1 "-DATTN_$(echo "$1" | tr '[:lower:]' '[:upper:]')" -I"$top" "$top/check/hash.c" -lm -o "hash-$1$exe" >"hash-$1.log" 2>&1 &&
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
    # Targets that differ only in their runner share a build.
    build=cross/$(table | awk -F'|' -v key="$host|$compiler|$cxx|$options" '$2 "|" $3 "|" $4 "|" $5 == key { print $1; exit }')
    mkdir -p "$build"
    verdict=passed
    begin=$(date +%s)
    sources=$(commit)
    progress_on "cross.sh: $name"
    cd "$build" || exit 99
    if ! [ -f Makefile ]; then
        "$source/configure" ${host:+--host="$host"} CC="$cc" $options >configure.out 2>&1 || {
            rm -f Makefile
            wrong configure configure.out
            cd "$here" || exit 99
            return
        }
    fi
    find . -name '*.trs' -exec rm -f {} +
    rm -f fuzz/replay.log
    exe=$(sed -n 's/^EXEEXT = //p' Makefile)
    case ${CROSS_TESTS:-$tests} in
    all) chosen= ;;
    some) chosen=$some ;;
    few) chosen=$few ;;
    *) chosen=$CROSS_TESTS ;;
    esac
    programs=
    for test in ${chosen:+$chosen $(sed -n 's/^fuzz_targets = //p' "$top/fuzz/local.mk" | sed 's|[^ ]*|fuzz/&|g')}; do
        case $test in *.sh) ;; *) programs="$programs $test$exe" ;; esac
    done
    chosen=$(for test in $chosen; do case $test in *.sh) echo "$test" ;; *) echo "$test$exe" ;; esac; done | tr '\n' ' ')
    {
        if [ -n "$cxx" ]; then make check/implementation.o CC="$cxx" CFLAGS="-O2 -std=c++11"; fi &&
            make check FUZZ_INPUTS=100 LOG_COMPILER="$runner" ${chosen:+TESTS="$chosen" check_PROGRAMS="$programs"}
    } >check.out 2>&1 || wrong "make check (log: $build/check.out)" check.out

    passes=$(find . -name '*.trs' -exec cat {} + | grep -c '^:test-result: PASS')
    failures=$(find . -name '*.trs' -exec cat {} + | grep -c -e '^:test-result: FAIL' -e '^:test-result: ERROR')
    [ "$passes" -gt 0 ] || [ "$verdict" != passed ] || wrong "no test ran" check.out
    inputs=$(sed -n 's/^ok .*: \(seeds\|regressions\), \([0-9]*\) inputs.*/\2/p' fuzz/replay.log 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')
    paths=$($runner "./attn$exe" info 2>/dev/null | tr -d '\r' | sed -e '1,/^path /d' -e 's/emulated by //' |
        awk '$3 == "yes" { printf "%s%s", sep, $1 ($4 == "yes" ? "" : " (" $5 ")"); sep = ", " }')
    own=$($runner "./attn$exe" info 2>/dev/null | tr -d '\r' | sed -n 's/^arithmetic *//p')
    best=$($runner "./attn$exe" info 2>/dev/null | tr -d '\r' | sed -n 's/^best path *//p')
    [ -z "$path" ] || [ "$best" = "$path" ] || wrong "attn_best_path gives $best, not $path" ''
    hashes=
    if [ "$(results PASS tests/golden.trs)" -gt 0 ] && [ "$(results FAIL tests/golden.trs)" = 0 ]; then hashes=$own; fi
    alone=
    for arithmetic in fused unfused; do
        if header_alone $arithmetic; then alone="$alone${alone:+, }$arithmetic"; else
            wrong "hashes of the header alone, $arithmetic" "hash-$arithmetic.log"
        fi
    done
    say "$verdict: $passes tests ($failures failed), $inputs corpus files, $own: $paths; golden hashes equal: ${hashes:-none}; header alone: ${alone:-none}; $(($(date +%s) - begin)) s"
    failed_tests=
    [ "$verdict" = passed ] || failed_tests=", **FAILED**"
    cd "$here" || exit 99
    case ${CROSS_TESTS:-$tests} in all | some | few) ;; *) return ;; esac # a hand-picked set of tests is not a result for the table
    {
        # Date, commit, checksum and compiler for the second table; then the row of the first.
        printf '%s|%s|%s|%s\n' "$(date -u +%Y-%m-%d)" "$sources" "$(cksum <"$top/attention.h")" "$($cc --version 2>/dev/null | head -n 1)"
        shown=$(echo "${cxx:-$cc}" | sed 's/ -[sW][A-Zn][A-Za-z_=1-]*//g')
        echo "| $name | \`$shown\` | ${runner:+\`${runner%% -L*}\`} | $paths | $own | $passes$failed_tests | $inputs | ${hashes:-**no**} | ${alone:-**no**} |"
    } >"cross/$name.row"
}

# The commit of the sources, if there is one.
commit() {
    if hash=$(git -C "$top" rev-parse --short=10 HEAD 2>/dev/null); then
        [ -z "$(git -C "$top" status --porcelain --untracked-files=no -- . ':!doc')" ] || hash="$hash, changed"
        echo "$hash"
    else
        echo "a tarball"
    fi
}

write_matrix() { # FILE
    {
        echo "# Where attention.h was built and run"
        echo
        echo "Written by \`make matrix\` from the last run of each target; do not edit. \`make check-TARGET\`"
        echo "repeats one target, with all tests if CROSS_TESTS=all. Not tested: Microsoft's compiler,"
        echo "Arm hardware."
        echo
        echo "- paths: those that ran, natively, through SIMDe, or lane by lane"
        echo "- arithmetic: the default on the target"
        echo "- tests passed: by the test programs, the tests of \`attn\`, and the hashes"
        echo "- corpus: files replayed from fuzz/seeds and fuzz/regressions"
        echo "- hashes equal: all of these paths gave the hashes in tests/ for this arithmetic"
        echo "- header alone: the header without SIMDe gave the hashes of these arithmetics; the one"
        echo "  that is not the default works on every target, in software where necessary"
        echo
        echo "| target | compiler | runner | paths | arithmetic | tests passed | corpus | hashes equal | header alone |"
        echo "|---|---|---|---|---|---|---|---|---|"
        table | while IFS='|' read -r name rest; do
            if [ -f "cross/$name.row" ]; then sed -n 2p "cross/$name.row"; else echo "| $name | not run | | | | | | | |"; fi
        done
        echo
        echo "| target | date | commit | compiler |"
        echo "|---|---|---|---|"
        current=$(cksum <"$top/attention.h")
        table | while IFS='|' read -r name rest; do
            [ ! -f "cross/$name.row" ] || IFS='|' read -r date sources sum version <"cross/$name.row"
            [ ! -f "cross/$name.row" ] || echo "| $name | $date | $sources$([ "$sum" = "$current" ] || echo ' (attention.h has changed since)') | $version |"
        done
        echo
        echo "SIMDe $(simde_version), $(qemu-aarch64 --version 2>/dev/null | head -n 1), node $(node --version 2>/dev/null), $(wine64 --version 2>/dev/null), on $(uname -m)."
    } >"$1"
}

simde_version() {
    printf '#include <simde/simde-common.h>\nSIMDE_VERSION_MAJOR SIMDE_VERSION_MINOR SIMDE_VERSION_MICRO\n' | ${CC:-cc} -E -P - 2>/dev/null | tail -n 1 | tr ' ' .
}

if [ "${1-}" = -w ]; then
    write_matrix "$2"
    exit
fi
failed=0
known=$(table | sed 's/|.*//')
for name in "$@"; do
    echo "$known" | grep -qx -e "$name" || {
        echo "cross.sh: unknown target $name; the targets are: $(echo "$known" | tr '\n' ' ')" >&2
        exit 2
    }
done
mkdir -p cross
# Targets share sources and builds, so only one run at a time, even under make -j.
mkdir cross/running 2>/dev/null || {
    echo "cross.sh: waiting for another run to end (if there is none, remove $PWD/cross/running)"
    until mkdir cross/running 2>/dev/null; do sleep 1; done
}
here=$PWD
trap 'progress_off; rmdir "$here/cross/running"' EXIT
trap 'exit 99' HUP INT TERM
source=$top
if [ -f "$top/config.status" ]; then # configured in place: other builds need sources of their own, those of a tarball
    make -s distdir distdir=cross/source >/dev/null || exit 99
    source=$PWD/cross/source
fi
[ $# -gt 0 ] || set -- $known
for name in "$@"; do
    IFS='|' read -r name host compiler cxx options runner path tests packages <<END
$(table | grep "^$name|")
END
    run
done
exit $failed
