#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# web.sh - tests the page of web/ in headless Chromium (tests/web.py): opened from disk, it shows the numbers and saves
# the bytes of `attn sentence` in unfused arithmetic, which WebAssembly has. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

first() { # the first of these commands that there is
    for command in "$@"; do command -v "$command" && return; done
}
page=$(pwd)/web/attention.html
chromium=$(first chromium chromium-browser google-chrome)
driver=$(first chromedriver /usr/lib/chromium-browser/chromedriver)
why=
if [ -n "${RUN-}" ]; then
    why='programs of another machine'
elif [ ! -f "$page" ]; then
    why='no page: see the output of configure'
elif [ -z "$chromium" ] || [ -z "$driver" ]; then
    why='no chromium or chromedriver (apt-get install chromium chromium-driver)'
elif ! "$python" -c '' 2>/dev/null; then
    why="no $python"
fi
if [ -n "$why" ]; then
    skip 'the page' "$why"
    plan
    exit
fi

${CC:-cc} -O1 -DATTN_UNFUSED -I"$top" "$top"/tools/*.c "$top/check/implementation.c" "$top/check/progress.c" \
    -lm -lpthread -o "$dir/attn" \
    >"$dir/log" 2>&1
ok 'attn compiles for unfused arithmetic'
"$python" "$top/tests/web.py" "$page" "$dir/attn" "$chromium" "$driver" "$dir" >"$dir/tap" 2>"$dir/log"
status=$?
sed 's/^\(not \)*ok [0-9]*/\1ok/' "$dir/tap" | grep -v '^1\.\.' |
    awk -v n="$number" '/^(not )?ok / { sub(/ok/, "ok " ++n) } { print }'
number=$((number + $(grep -c '^ok \|^not ok ' "$dir/tap")))
[ $status = 0 ]
ok 'tests/web.py runs to its end'
plan
