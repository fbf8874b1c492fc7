#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2086 # $CC and $texts are lists
#
# readme.sh - tests the code blocks in README.md and doc/tutorial.md. A comment before each fenced
# block says what it is:
#   <!-- example: FILE -->   the contents of the file; of several such blocks, one after the other
#   <!-- output: FILE -->    what the program prints whose source the file is, likewise
#   <!-- run -->             commands, run here in a folder with attention.h, the examples and
#                            some .npy files
#   <!-- python -->          what Python prints, tested where it can import attention; one session
#                            in each text, in the same folder
#   <!-- run: NAME -->       commands that read what Python wrote there
#   <!-- output: NAME -->    what these print, but for spaces at the ends of lines
#   <!-- ci: NAME -->        commands in README.md, run by .ci/run in a clean clone
#   <!-- show -->            not run
# Also tests that files and make targets named in README.md and other texts exist. Prints TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
build=$(pwd)
CC=${CC:-cc}
mkdir "$dir/bin"

texts='README.md doc/tutorial.md'

# blocks COMMENT [TEXT]: the lines of the fenced blocks after it, in all texts or this one
blocks() {
    (cd "$top" && awk -v comment="<!-- $1 -->" '
        inside && /^```/ { inside = found = 0; next }
        inside { print }
        found && /^```/ { inside = 1 }
        $0 == comment { found = 1 }' ${2:-$texts})
}

for text in $texts; do
    awk -v ci="$([ "$text" = README.md ] && echo '|ci: .*')" '
        /^```/ && inside { inside = 0; next }
        /^```/ {
            inside = 1
            if (before !~ "^<!-- (example: .*|output: .*|run|run: .*|python|show" ci ") -->$")
                print "line " NR ": no comment says what this is"
            if (/^```sh$/ != (before ~ /^<!-- (run|run: .*|ci: .*) -->$/))
                print "line " NR ": shell commands that are not run, or another language that is"
            blocks++
        }
        !inside && /^    / { print "line " NR ": code without a fence" }
        { before = $0 }
        END { if (blocks < 5) print "only " blocks + 0 " blocks" }' "$top/$text" >"$dir/log"
    [ ! -s "$dir/log" ]
    ok "$text: every block has its comment"
done

# ------------------------------------------------------------------- examples --

cp "$top/attention.h" "$top"/examples/*.[ch] "$dir"
for source in "$top"/examples/*.c; do
    file=examples/${source##*/}
    name=${file##*/}
    name=${name%.c}
    blocks "example: $file" >"$dir/shown"
    if [ -s "$dir/shown" ]; then
        diff "$dir/shown" "$source" >"$dir/log"
        ok "$file is shown as it is"
    else
        grep -q "]($file)" "$top/README.md"
        ok "$file is mentioned"
    fi
    math=$(grep -q '<math\.h>' "$source" && echo -lm) # of its own
    (cd "$dir" && $CC -O1 -Wall -Wextra -Werror "$name.c" -o "$name" $math) >"$dir/log" 2>&1
    ok "$file compiles beside attention.h, without a warning"
    ${RUN-} "$dir/$name" >"$dir/printed" 2>"$dir/log"
    ok "$file runs"
    blocks "output: $file" >"$dir/shown"
    if [ -s "$dir/shown" ]; then
        tr -d '\r' <"$dir/printed" | diff "$dir/shown" - >"$dir/log"
        ok "$file prints what the text says"
    fi
done

# ------------------------------------------------------------------- commands --

npy() { # NAME ROWS COLUMNS: float32 zeros
    shape=$(printf "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" "$2" "$3")
    { printf '\223NUMPY\001\000\166\000%-117s\n' "$shape" && head -c $((4 * $2 * $3)) /dev/zero; } >"$dir/$1.npy"
}
npy Q 4 8
npy K 6 8
npy V 6 8
npy X 5 8
npy Wq 8 8
npy Wk 8 8
npy Wv 8 8
npy A 3 4
npy B 4 2
printf '#!/bin/sh\nexec %s "$@"\n' "${RUN:+$RUN }${ATTN:-$build/attn}" >"$dir/bin/attn"
printf '#!/bin/sh\nPATH=%s\nexec %s "$@"\n' "'$PATH'" "$CC" >"$dir/bin/cc" # which may be cc
chmod +x "$dir/bin/attn" "$dir/bin/cc"

blocks run >"$dir/commands"
[ -s "$dir/commands" ]
ok 'README.md has commands'
no_png=$(no_png)
while IFS= read -r command <&3; do
    case ${RUN:+foreign}$command in
    foreign*a.out*) skip "$command" 'programs of another machine' && continue ;;
    *.png*) [ -z "$no_png" ] || { skip "$command" "$no_png" && continue; } ;;
    esac
    (cd "$dir" && PATH=$dir/bin:$PATH sh -c "$command") >"$dir/log" 2>&1
    ok "$command"
done 3<"$dir/commands"
[ -n "$no_png" ] || png=W.png
for file in O.npy W.npy Y.npy C.npy sentence.svg W.svg ${png-}; do
    [ -s "$dir/$file" ]
    ok "$file is written"
done

why=$(no_python)
for text in $texts; do
    blocks python "$text" >"$dir/snippets.txt"
    if [ -n "$why" ]; then
        skip "Python prints what $text says" "$why"
    else
        [ -s "$dir/snippets.txt" ] && (cd "$dir" && "$python" -m doctest snippets.txt) >"$dir/log" 2>&1
        ok "Python prints what $text says"
    fi
done
for name in $(cd "$top" && sed -n 's/^<!-- run: \(.*\) -->$/\1/p' $texts); do
    if [ -n "$why" ]; then
        skip "$name prints what the text says" "$why"
    else
        (cd "$dir" && LC_ALL=C.UTF-8 PATH=$dir/bin:$PATH sh -c "$(blocks "run: $name")") >"$dir/printed" 2>"$dir/log" &&
            blocks "output: $name" >"$dir/shown" && [ -s "$dir/shown" ] &&
            sed 's/ *$//' "$dir/printed" | diff "$dir/shown" - >"$dir/log"
        ok "$name prints what the text says"
    fi
done
if [ -n "$why" ]; then
    skip 'a picture by Python is written' "$why"
else
    [ -s "$dir/hello.svg" ]
    ok 'a picture by Python is written'
fi

# ------------------------------------------------------------ what texts name --

# [text](file) in every text, relative to its folder
for text in $texts CHANGELOG.md CONTRIBUTING.md bench/NOTES.md fuzz/README.md; do
    awk '{ n = split($0, part, /\]\(/); for (i = 2; i <= n; i++) { sub(/[)#].*/, "", part[i]); print part[i] } }' "$top/$text" |
        grep -v '^https:\|^$' |
        while read -r file; do
            [ -e "$(dirname "$top/$text")/$file" ] || echo "$text: no $file"
        done >"$dir/log"
    [ ! -s "$dir/log" ]
    ok "$text: its links lead to files"
done

# `make TARGET` in the running text
for text in README.md CONTRIBUTING.md; do
    tr '\n' ' ' <"$top/$text" | awk '{ n = split($0, part, /`make /); for (i = 2; i <= n; i++) { sub(/[^a-z-].*/, "", part[i]); print part[i] } }' |
        while read -r target; do
            grep -q "^$target:\|^\.PHONY:.* $target\( \|\$\)" "$build/Makefile" || echo "$text: no target $target"
        done >"$dir/log"
    [ ! -s "$dir/log" ]
    ok "$text: make has the targets"
done
plan
