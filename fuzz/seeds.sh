#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# seeds.sh - inputs as lines and as files. The engines want a file for each input;
# the repository has one file for each target, TARGET.seeds, with an input a line, in
# hexadecimal, sorted, none twice.
#
#     seeds.sh unpack FILE FOLDER             files named after the numbers of the lines
#     seeds.sh pack FOLDER FILE REGRESSIONS   adds what is in FOLDER and is no regression
set -eu
LC_ALL=C
export LC_ALL

unpack() { # FILE FOLDER
    status=0
    grep -n -v -x -E '#.*|([0-9a-f][0-9a-f])+' "$1" /dev/null >&2 || status=$?
    if [ $status != 1 ]; then
        echo "seeds.sh: $1: not pairs of hexadecimal digits" >&2
        exit 1
    fi
    rm -rf "$2"
    mkdir -p "$2"
    awk '!/^#/ {
        printf "%04d ", NR
        for (i = 1; i < length($0); i += 2)
            printf "\\%03o", 16 * (index(digits, substr($0, i, 1)) - 1) + index(digits, substr($0, i + 1, 1)) - 1
        print ""
    }' digits=0123456789abcdef "$1" | while read -r name octal; do
        # shellcheck disable=SC2059 # nothing but octal numbers
        printf "$octal" >"$2/$name"
    done
}

lines() { # FOLDER; without the empty input, with which every engine begins
    find "$1" -type f -size +0 -exec sh -c 'for file; do od -An -v -tx1 "$file" | tr -d " \n"; echo; done' sh {} + | sort -u
}

pack() { # FOLDER FILE REGRESSIONS
    { lines "$1" && cat "$2"; } | sort -u >"$2.all"
    if [ -d "$3" ]; then lines "$3"; fi | comm -13 - "$2.all" >"$2.new"
    mv "$2.new" "$2"
    rm "$2.all"
}

case $#,${1-} in
3,unpack) unpack "$2" "$3" ;;
4,pack) pack "$2" "$3" "$4" ;;
*) sed -n 's/^#     //p' "$0" >&2 && exit 2 ;;
esac
