#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# web.sh - tests the page of web/ in headless Chromium and Firefox (tests/web.py): opened from disk, it shows the numbers
# and saves the bytes of `attn sentence` in unfused arithmetic, which WebAssembly has. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

first() { # the first of these commands that there is
    for command in "$@"; do command -v "$command" && return; done
}
page=$(pwd)/web/attention.html
chromium=$(first chromium chromium-browser google-chrome)
driver=$(first chromedriver /usr/lib/chromium-browser/chromedriver)
firefox=$(first firefox-esr firefox)
why=
if [ -n "${RUN-}" ]; then
    why='programs of another machine'
elif [ ! -f "$page" ]; then
    why='no page: see the output of configure'
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
in_browser() { # NAME PROGRAM [DRIVER]
    name=$1
    shift
    mkdir "$dir/$name"
    "$python" "$top/tests/web.py" "$page" "$dir/attn" "$dir/$name" "$@" >"$dir/tap" 2>"$dir/log"
    status=$?
    sed "s/^\\(not \\)*ok [0-9]* -/\\1ok - $name:/" "$dir/tap" | grep -v '^1\.\.' |
        awk -v n="$number" '/^(not )?ok / { sub(/ok/, "ok " ++n) } { print }'
    number=$((number + $(grep -c '^ok \|^not ok ' "$dir/tap")))
    [ $status = 0 ]
    ok "$name: tests/web.py runs to its end"
}
if [ -n "$chromium" ] && [ -n "$driver" ]; then
    in_browser Chromium "$chromium" "$driver"
else
    skip 'the page in Chromium' 'no chromium or chromedriver (apt-get install chromium chromium-driver)'
fi
if [ -n "$firefox" ]; then
    in_browser Firefox "$firefox"
else
    skip 'the page in Firefox' 'no firefox (apt-get install firefox-esr)'
fi
plan
