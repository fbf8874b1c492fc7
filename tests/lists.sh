#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# lists.sh - what lists say about places of attention.h is about places that it has:
# reasons for code that no input reaches, faults for mutants, faults that change
# nothing; and the forms of arrays that a test walks. That two files for C11 and
# POSIX threads, each to be copied alone, say the same, and that every target of the
# fuzzers is where they are listed. Looks only, in seconds. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
# name, least and most dimensions, what broadcasts
sed -n '/^#define ATTN__ARRAYS/,/[^\\]$/s/^ *X(\([^,]*\), [01], \([^,]*\), \([^,]*\),.*, \([^,]*\)).*/\1 \2 \3 \4/p' "$top/attention.h" >"$dir/arrays"
sed -n '/^#define ARRAYS/,/[^\\]$/s/^ *X(\([^,]*\), \([^,]*\), \([^,]*\), \([^,]*\)).*/\1 \2 \3 \4/p' "$top/tests/array_forms.c" >"$dir/forms"
[ -s "$dir/arrays" ] && diff "$dir/arrays" "$dir/forms" >"$dir/log" 2>&1
ok 'tests/array_forms.c walks the arrays of attention.h'
sed -e 's/attn_pthreads_\([a-z]\)/attn_c11_\1/g' -e 's/attn_pthreads/attn_c11_threads/g' \
    -e 's/pthread_mutex_init(\(.*\), NULL) == 0/mtx_init(\1, mtx_plain) == thrd_success/' \
    -e 's/pthread_cond_init(\(.*\), NULL) == 0/cnd_init(\1) == thrd_success/' \
    -e 's/pthread_create(\(.*\), NULL, \(.*\)) != 0/thrd_create(\1, \2) != thrd_success/' \
    -e 's/pthread_mutex_/mtx_/g' -e 's/pthread_cond_/cnd_/g' -e 's/pthread_join/thrd_join/' -e 's/pthread_t/thrd_t/' \
    -e 's/void \*\(attn_c11_main\)/int \1/' -e 's/return NULL;/return 0;/' \
    -e 's/pthread\.h/threads.h/' -e 's/pthread_parallel/c11_parallel/' -e 's/PTHREAD_PARALLEL/C11_PARALLEL/' \
    -e 's/ - POSIX/ - C11/' -e 's/C99 or C++, -lpthread/C11; where the C library needs it, -lpthread/' \
    "$top/examples/pthread_parallel_for.h" | tr -s ' ' >"$dir/c11"
tr -s ' ' <"$top/examples/c11_parallel_for.h" | diff "$dir/c11" - >"$dir/log"
ok 'examples/c11_parallel_for.h is examples/pthread_parallel_for.h with the names of C11'
targets=$(sed -n 's/^fuzz_targets = //p' "$top/fuzz/local.mk")
for target in $targets; do
    for line in "fuzz/$target" "fuzz/seeds/$target.seeds" "fuzz_${target}_LDADD"; do
        grep -q "^[[:space:]]*$line\([[:space:]=]\|\$\)" "$top/fuzz/local.mk" || echo "fuzz/local.mk has no line of $line"
    done
    [ -f "$top/fuzz/seeds/$target.seeds" ] || echo "no fuzz/seeds/$target.seeds"
    [ ! -f "$top/.gitignore" ] || grep -q "^/fuzz/$target\$" "$top/.gitignore" || echo ".gitignore has no /fuzz/$target"
done >"$dir/log"
[ ! -s "$dir/log" ]
ok 'every target of the fuzzers has a program, seeds, and a line where git ignores it'
if python3 -c '' 2>/dev/null; then
    python3 "$top/fuzz/coverage.py" --check "$top/attention.h" "$top/fuzz/unreached.txt" >"$dir/log" 2>&1
    ok 'fuzz/unreached.txt has reasons for lines that are there (fuzz/coverage.py --check)'
    python3 "$top/fuzz/mutate/mutate.py" --check >"$dir/log" 2>&1
    ok 'fuzz/mutate/faults.txt and equivalent.txt change code that is there (fuzz/mutate/mutate.py --check)'
else
    skip 'fuzz/unreached.txt, fuzz/mutate/faults.txt and equivalent.txt fit' 'no python3'
fi
plan
