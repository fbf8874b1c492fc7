#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# lists.sh - what lists say about places of attention.h is about places that it has:
# reasons for code that no input reaches, faults for mutants, faults that change
# nothing. Looks only, in seconds. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
if ! python3 -c '' 2>/dev/null; then
    echo '1..0 # SKIP no python3'
    exit 0
fi

python3 "$top/fuzz/coverage.py" --check "$top/attention.h" "$top/fuzz/unreached.txt" >"$dir/log" 2>&1
ok 'fuzz/unreached.txt has reasons for lines that are there (fuzz/coverage.py --check)'
python3 "$top/fuzz/mutate/mutate.py" --check >"$dir/log" 2>&1
ok 'fuzz/mutate/faults.txt and equivalent.txt change code that is there (fuzz/mutate/mutate.py --check)'
plan
