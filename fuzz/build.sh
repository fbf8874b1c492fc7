#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # flags are several words
#
# Builds every fuzz target with its seeds, dictionary and options, in the style of
# OSS-Fuzz: $CC, $CFLAGS, $LIB_FUZZING_ENGINE, $OUT. Without an engine the targets
# are standalone programs. $TARGETS: some of them only.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
: "${CC:=clang}" "${CFLAGS=-g -O1}" "${OUT:=$PWD/fuzz-out}" "${LIB_FUZZING_ENGINE=}"
: "${TARGETS:=$(sed -n 's/^fuzz_targets = //p' "$top/fuzz/local.mk")}"
work=$OUT/objects
mkdir -p "$work"

flags="-std=c99 -I$top"
if printf '#include <simde/x86/avx2.h>\n' | $CC -E -x c - >/dev/null 2>&1; then
    flags="$flags -DATTN_USE_SIMDE"
else
    echo "without SIMDe: the paths of other machines are left out" >&2
fi

compile() { # SOURCE FLAGS...
    source=$1
    shift
    $CC $CFLAGS $flags "$@" -c "$top/$source.c" -o "$work/$(echo "$source" | tr / _).o"
}

# Speed: what judges and prepares is not what is explored; comparisons of numbers
# lead an engine nowhere. But MSan must see all code.
accepts() { # FLAGS...
    printf 'int x;\n' | $CC $CFLAGS "$@" -Werror -c -x c - -o "$work/accepts.o" 2>/dev/null
}
judge=-O2
helper=
library=
threaded=
case $CFLAGS in
*memory*) judge= ;;
*fsanitize*)
    judge='-O2 -fno-sanitize=all'
    helper=-O2
    ! accepts -fno-sanitize=fuzzer-no-link || helper="$helper -fno-sanitize=fuzzer-no-link"
    ! accepts -fno-sanitize-coverage=trace-cmp || library=-fno-sanitize-coverage=trace-cmp
    ;;
esac
case $CFLAGS in
*=thread*) threaded=-fno-sanitize=fuzzer-no-link ;; # threads would race for the counters of coverage
esac

compile check/implementation $library $threaded &
compile check/reference $judge
compile check/harness $helper # has to see the sanitizer: it poisons the guards of arrays
compile tools/npy
compile fuzz/grammar $judge
compile fuzz/oracle $helper
engine=$LIB_FUZZING_ENGINE
if [ -z "$engine" ]; then
    compile fuzz/standalone
    engine=$work/fuzz_standalone.o
fi
wait $!

for target in $TARGETS; do
    compile "fuzz/$target" $library
    $CC $CFLAGS "$work/fuzz_$target.o" "$work/fuzz_grammar.o" "$work/fuzz_oracle.o" "$work/check_harness.o" "$work/check_reference.o" \
        "$work/check_implementation.o" "$work/tools_npy.o" $engine -lm -o "$OUT/$target"
    cp "$top/fuzz/attention.dict" "$OUT/$target.dict"
    cat >"$OUT/$target.options" <<EOF
[libfuzzer]
dict = $target.dict
max_len = 256
len_control = 0
timeout = 10
EOF
    if command -v zip >/dev/null; then
        rm -f "$OUT/${target}_seed_corpus.zip"
        sh "$top/fuzz/seeds.sh" unpack "$top/fuzz/seeds/$target.seeds" "$work/seeds/$target"
        find "$work/seeds/$target" "$top/fuzz/regressions/$target" -type f 2>/dev/null | zip -q -j "$OUT/${target}_seed_corpus.zip" -@
    fi
done
