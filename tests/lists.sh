#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# lists.sh - what lists say about places of attention.h is about places that it has:
# reasons for code that no input reaches, faults for mutants, faults that change
# nothing; and the forms of arrays that a test walks. Looks only, in seconds. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
# name, least and most dimensions, what broadcasts
sed -n '/^#define ATTN__ARRAYS/,/[^\\]$/s/^ *X(\([^,]*\), [01], \([^,]*\), \([^,]*\),.*, \([^,]*\)).*/\1 \2 \3 \4/p' "$top/attention.h" >"$dir/arrays"
sed -n '/^#define ARRAYS/,/[^\\]$/s/^ *X(\([^,]*\), \([^,]*\), \([^,]*\), \([^,]*\)).*/\1 \2 \3 \4/p' "$top/tests/array_forms.c" >"$dir/forms"
[ -s "$dir/arrays" ] && diff "$dir/arrays" "$dir/forms" >"$dir/log" 2>&1
ok 'tests/array_forms.c walks the arrays of attention.h'
if python3 -c '' 2>/dev/null; then
    python3 "$top/fuzz/coverage.py" --check "$top/attention.h" "$top/fuzz/unreached.txt" >"$dir/log" 2>&1
    ok 'fuzz/unreached.txt has reasons for lines that are there (fuzz/coverage.py --check)'
    python3 "$top/fuzz/mutate/mutate.py" --check >"$dir/log" 2>&1
    ok 'fuzz/mutate/faults.txt and equivalent.txt change code that is there (fuzz/mutate/mutate.py --check)'
else
    skip 'fuzz/unreached.txt, fuzz/mutate/faults.txt and equivalent.txt fit' 'no python3'
fi
plan
