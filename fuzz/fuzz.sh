#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# What an operator does with the fuzz targets; README.md says when. `make fuzz-...`
# calls this. Works in the current folder: fuzz-out/ programs, fuzz-corpus/ inputs,
# fuzz-crashes/ what was found.
set -eu
source=$(cd "$(dirname "$0")" && pwd)
targets=$(sed -n 's/^fuzz_targets = //p' "$source/local.mk")
: "${CLANG:=clang}" "${SECONDS_EACH:=60}" "${JOBS:=1}" "${TARGET:=}" "${FILE:=}" "${SEED:=}" "${RUNS:=}"
out=$PWD/fuzz-out
seeds=$out/seeds
sanitizers=address,undefined,float-divide-by-zero,float-cast-overflow
check="-g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=fuzzer-no-link,$sanitizers"
export UBSAN_OPTIONS=print_stacktrace=1
# shellcheck source=check/progress.sh
. "$source/../check/progress.sh"
trap progress_off EXIT
trap 'exit 99' HUP INT TERM

die() {
    echo "$*" >&2
    exit 2
}

unpack_seeds() { # into files, for the engines; unless they are those of the same lines
    mkdir -p "$seeds"
    for t in ${TARGET:-$targets}; do
        cmp -s "$source/seeds/$t.seeds" "$seeds/$t.seeds" && continue
        sh "$source/seeds.sh" unpack "$source/seeds/$t.seeds" "$seeds/$t"
        cp "$source/seeds/$t.seeds" "$seeds/$t.seeds"
    done
}

build() { # FOLDER CFLAGS [ENGINE [CC]]; unless it was built so, of the same sources
    folder=$1 how="$2 ${3-} ${4-$CLANG}"
    newer=$(cd "$source/.." && find attention.h check fuzz tools/npy.[ch] -name '*.[ch]' -newer "$folder/built" 2>/dev/null | head -1)
    if [ -n "$newer" ] || [ "$(cat "$folder/built" 2>/dev/null)" != "$how" ]; then
        rm -f "$folder/built"
        progress_on 'fuzz.sh: building'
        OUT=$folder CFLAGS=$2 LIB_FUZZING_ENGINE=${3--fsanitize=fuzzer} CC=${4-$CLANG} sh "$source/build.sh"
        progress_off
        echo "$how" >"$folder/built"
    fi
    unpack_seeds
}

need_build() {
    build "$out" "$check"
}

inputs_of() { # TARGET: the folders there are; the engine writes to the first
    for folder in "fuzz-corpus/$1" "$seeds/$1" "$source/regressions/$1"; do
        [ ! -d "$folder" ] || echo "$folder"
    done
}

one_target() {
    [ -n "$TARGET" ] || die "which target? TARGET=... ($targets)"
    [ -f "$source/$TARGET.c" ] || die "no target $TARGET ($targets)"
}

all_seconds() { echo $(($(echo "${TARGET:-$targets}" | wc -w) * SECONDS_EACH)); }

a_file() {
    one_target
    [ -f "$FILE" ] || die "which input? FILE=..."
}

# Entropic scheduling would cost more than the target.
engine() { # TARGET ARGUMENTS...
    t=$1
    shift
    mkdir -p "fuzz-crashes/$t"
    "$out/$t" -dict="$source/attention.dict" -max_len=256 -len_control=0 -timeout=10 -rss_limit_mb=1024 -entropic=0 -print_final_stats=1 \
        -artifact_prefix="fuzz-crashes/$t/" "$@"
}

# With this target's corpus, seeds and regressions.
run() { # TARGET ARGUMENTS...
    mkdir -p "fuzz-corpus/$1"
    # shellcheck disable=SC2046 # folders are words
    engine "$@" $(inputs_of "$1")
}

# $RUNS inputs from the committed ones on, in an order that neither the machine's
# speed nor its file system has a part in.
fixed() { # TARGET
    for folder in "$seeds/$1" "$source/regressions/$1"; do
        find "$folder" -type f 2>/dev/null | LC_ALL=C sort
    done | tr '\n' ',' | sed 's/,$//' >"$out/$1.inputs"
    rm -rf "$out/$1.new"
    mkdir "$out/$1.new"
    engine "$1" -seed="${SEED:-1}" -runs="$RUNS" -seed_inputs="@$out/$1.inputs" "$out/$1.new"
}

case ${1-} in
list)
    for t in $targets; do
        printf '%-14s %s\n' "$t" "$(sed -n '3{s/^ \* //p;q;}' "$source/$t.c")"
    done
    ;;
smoke) # seconds for each target, from the corpus on; or RUNS inputs, always the same
    need_build
    failed=0
    done=0
    all=$(all_seconds)
    for t in ${TARGET:-$targets}; do
        echo "== $t"
        if [ -n "$RUNS" ]; then
            progress_on "fuzz.sh: $t"
            fixed "$t" >"$out/$t.log" 2>&1 || failed=1
        else
            progress_on "fuzz.sh: $t" $done "$all"
            run "$t" -max_total_time="$SECONDS_EACH" ${SEED:+"-seed=$SEED"} >"$out/$t.log" 2>&1 || failed=1
        fi
        progress_off
        done=$((done + SECONDS_EACH))
        grep -E 'FAILED|ERROR|runtime error|number_of_executed|average_exec' "$out/$t.log" || true
    done
    exit $failed
    ;;
campaign)
    need_build
    done=0
    all=$(all_seconds)
    for t in ${TARGET:-$targets}; do
        [ -t 1 ] || progress_on "fuzz.sh: $t" $done "$all" # on a terminal the engine's lines tell
        run "$t" -fork="$JOBS" -ignore_crashes=1 -ignore_timeouts=1 -max_total_time="$SECONDS_EACH" 2>&1 | tee "$out/$t.log" | grep -E 'FAILED|ERROR|cov:' || true
        progress_off
        done=$((done + SECONDS_EACH))
    done
    find fuzz-crashes -type f
    ;;
replay)
    need_build
    for t in ${TARGET:-$targets}; do
        # shellcheck disable=SC2046
        "$out/$t" -runs=0 $(inputs_of "$t")
    done
    ;;
one)
    need_build
    a_file
    "$out/$TARGET" "$FILE"
    ;;
minimise)
    need_build
    a_file
    "$out/$TARGET" -minimize_crash=1 -max_total_time="$SECONDS_EACH" -exact_artifact_path="$FILE.min" "$FILE" || true
    [ ! -f "$FILE.min" ] || "$out/$TARGET" -cleanse_crash=1 -exact_artifact_path="$FILE.clean" "$FILE.min" || true
    ls -l "$FILE"*
    ;;
merge) # the fewest inputs with the same coverage
    need_build
    for t in ${TARGET:-$targets}; do
        mkdir -p "fuzz-corpus/$t"
        rm -rf "fuzz-corpus/$t.merged"
        mkdir "fuzz-corpus/$t.merged"
        # shellcheck disable=SC2046
        "$out/$t" -set_cover_merge=1 -use_counters=0 "fuzz-corpus/$t.merged" $(inputs_of "$t")
        rm -rf "fuzz-corpus/$t"
        mv "fuzz-corpus/$t.merged" "fuzz-corpus/$t"
    done
    ;;
coverage)
    build "$out-coverage" "-g -O1 -fprofile-instr-generate -fcoverage-mapping" ""
    objects=
    rm -f "$out-coverage"/*.profraw
    for t in ${TARGET:-$targets}; do
        # shellcheck disable=SC2046
        LLVM_PROFILE_FILE="$out-coverage/$t.profraw" "$out-coverage/$t" $(inputs_of "$t") >/dev/null 2>&1 || die "$t fails: see make fuzz-replay"
        objects="$objects -object $out-coverage/$t"
    done
    "${LLVM_PROFDATA:-llvm-profdata}" merge -sparse "$out-coverage"/*.profraw -o "$out-coverage/all.profdata"
    # shellcheck disable=SC2086
    "${LLVM_COV:-llvm-cov}" report -show-branch-summary -instr-profile="$out-coverage/all.profdata" ${objects# -object} "$source/../attention.h"
    if command -v python3 >/dev/null; then # path by path, with the reasons for what is not reached
        # shellcheck disable=SC2086
        "${LLVM_COV:-llvm-cov}" export -format=text -instr-profile="$out-coverage/all.profdata" ${objects# -object} |
            python3 "$source/coverage.py" "$source/../attention.h" "$source/unreached.txt" >"$out-coverage/report.txt" || true
        sed '/^$/,$d' "$out-coverage/report.txt"
        echo "what is not reached, and why: $out-coverage/report.txt"
    fi
    # shellcheck disable=SC2086
    "${LLVM_COV:-llvm-cov}" show -show-branches=count -instr-profile="$out-coverage/all.profdata" ${objects# -object} "$source/../attention.h" >"$out-coverage/attention.h.txt"
    echo "lines and branches: $out-coverage/attention.h.txt"
    ;;
afl) # builds; then runs one target
    command -v afl-clang-fast >/dev/null || die "afl-clang-fast is not found (apt-get install afl++)"
    mkdir -p "$out-afl"
    printf 'src: */%s\n' reference.c harness.c grammar.c oracle.c >"$out-afl/judges" # are not what is explored
    # afl-clang-fast would take -O3 on its own: minutes
    export AFL_DONT_OPTIMIZE=1 AFL_LLVM_DENYLIST="$out-afl/judges"
    build "$out-afl" "-g -O1" -fsanitize=fuzzer afl-clang-fast
    if [ -n "$TARGET" ]; then # on a machine that was not set up for it; goes on with what was found before
        export AFL_AUTORESUME=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1
        one_target
        afl-fuzz -V "$SECONDS_EACH" -G 256 -x "$source/attention.dict" -i "$seeds/$TARGET" -o "$out-afl/$TARGET.found" -- "$out-afl/$TARGET"
    fi
    ;;
memory) # MSan: reads of uninitialised memory
    build "$out-memory" "-g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,memory -fsanitize-memory-track-origins"
    out=$out-memory
    for t in ${TARGET:-$targets}; do
        run "$t" -max_total_time="$SECONDS_EACH"
    done
    ;;
threads) # TSan: tasks on real threads, and the test of the pthreads adapter
    flags="-g -O1 -pthread -fsanitize=thread"
    build "$out-threads" "$flags -fsanitize=fuzzer-no-link -DFUZZ_THREADS"
    # shellcheck disable=SC2086
    $CLANG $flags -std=c99 -I"$source/.." "$source/../tests/pthread_adapter.c" "$source/../check/adapter.c" "$source/../check/harness.c" \
        "$source/../check/reference.c" "$source/../check/implementation.c" -lm -o "$out-threads/adapter"
    "$out-threads/adapter"
    out=$out-threads
    for t in ${TARGET:-differential extremes metamorphic}; do
        run "$t" -max_total_time="$SECONDS_EACH"
    done
    ;;
32) # size_t of 32 bits, without an engine; $CC32 and $RUN32 where it needs them
    : "${RUN32:=}"
    if [ -z "${CC32-}" ]; then
        for CC32 in "gcc -m32" "$CLANG -m32" i686-linux-gnu-gcc; do
            # shellcheck disable=SC2086
            ! printf '#include <stdio.h>\nint main(void) { return sizeof(size_t) != 4; }\n' | $CC32 -x c - -static -o fuzz-32.probe 2>/dev/null || break
        done
    fi
    [ -f fuzz-32.probe ] || [ -n "$RUN32" ] || die "no compiler for 32 bits (Debian: gcc-i686-linux-gnu)"
    rm -f fuzz-32.probe
    build "$out-32" "-O2 -msse2 -mfpmath=sse -static" "" "$CC32"
    for t in ${TARGET:-$targets}; do
        echo "== $t"
        for inputs in "$(inputs_of "$t")" "-n ${INPUTS:-2000}"; do
            # shellcheck disable=SC2086 # several words
            $RUN32 "$out-32/$t" $inputs >"$out-32/$t.log" 2>&1 || die "$(tail -n 20 "$out-32/$t.log")"
            tail -n 1 "$out-32/$t.log"
        done
    done
    ;;
explore) # no sanitizers: fastest
    build "$out-fast" "-g -O3 -fsanitize=fuzzer-no-link"
    out=$out-fast
    for t in ${TARGET:-$targets}; do
        run "$t" -fork="$JOBS" -ignore_crashes=1 -max_total_time="$SECONDS_EACH"
    done
    ;;
times) # no sanitizers, and nothing in the library that counts what is reached: the engine is told how slow it was
    build "$out-times" "-g -O2" -fsanitize=fuzzer
    out=$out-times
    TARGET='times'
    FUZZ_TIMES=${FUZZ_TIMES:-8}
    export FUZZ_TIMES
    run times -timeout=60 -max_total_time="$SECONDS_EACH" ${SEED:+"-seed=$SEED"}
    ;;
pack) # the corpus becomes seeds
    [ -d fuzz-corpus ] || die "no fuzz-corpus here"
    for t in ${TARGET:-$targets}; do
        [ -d "fuzz-corpus/$t" ] || continue
        sh "$source/seeds.sh" pack "fuzz-corpus/$t" "$source/seeds/$t.seeds" "$source/regressions/$t"
        wc -l "$source/seeds/$t.seeds"
    done
    ;;
seeds)
    command -v zip >/dev/null || die "zip is not found"
    unpack_seeds
    for t in ${TARGET:-$targets}; do
        rm -f "${t}_seed_corpus.zip"
        find "$seeds/$t" "$source/regressions/$t" -type f 2>/dev/null | zip -q -j "${t}_seed_corpus.zip" -@
        ls -l "${t}_seed_corpus.zip"
    done
    ;;
*) die "usage: fuzz.sh list | smoke | campaign | replay | one | minimise | merge | pack | coverage | afl | memory | threads | 32 | explore | times | seeds" ;;
esac
