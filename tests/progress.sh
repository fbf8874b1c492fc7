#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# progress.sh - long work shows how far it is: a line on standard error, on a terminal only, which is
# rewritten, fits the terminal, and leaves nothing behind; results are the same. tests/terminal.py is
# the terminal. Prints TAP.

# shellcheck source=tests/npy.sh
. "${srcdir:-.}/tests/npy.sh"
if [ -n "${RUN-}" ]; then
    skip 'progress' 'an emulator'
    plan
    exit
elif ! python3 -c 'import pty' 2>/dev/null; then
    skip 'progress' 'no python3, or no terminals in it'
    plan
    exit
fi
TERM=xterm
export TERM
columns=200
# terminal COMMAND...: prints what terminal.py does; its status
terminal() { python3 "$top/tests/terminal.py" $columns "$@" 2>&1; }
# left: what stays on the terminal
left() { grep -v '^over: ' "$dir/seen"; }
over() { grep "^over: $1\$" "$dir/seen" >"$dir/over"; }

# zeros FILE TYPE BYTES SHAPE
zeros() {
    : | npy "$1" "$2" "$4"
    head -c "$3" /dev/zero >>"$1"
}

# ------------------------------------------------------------------- slowly --

zeros "$dir/x.npy" f4 262144 '(64, 1024)'
mkfifo "$dir/f" "$dir/out"
slow() { # FILE [SECONDS]: its parts, after two seconds the second, after so many more the others
    { head -c 65536 "$1" && sleep 2 && tail -c +65537 "$1" | head -c 65536 && sleep "${2:-0}" && tail -c +131073 "$1"; } \
        >"$dir/f" 2>/dev/null &
}
soft() { # COMMAND...: run with attn softmax of it
    "$@" softmax --in "$dir/f" -o "$dir/y.npy" >"$dir/seen" 2>&1
}
slow "$dir/x.npy" 2
soft terminal "$ATTN"
over "attn: reading $dir/f: [0-9]* s" && [ "$(wc -l <"$dir/over")" -ge 2 ]
ok 'a line, written again, of what is read from a pipe, whose length is not known'
cp "$dir/seen" "$dir/log"
[ -z "$(left)" ]
ok 'is erased at the end'
run softmax --in "$dir/x.npy" -o "$dir/wanted.npy" && cmp "$dir/y.npy" "$dir/wanted.npy" >"$dir/log"
ok 'and the output is the same'
for columns in 20 12; do
    slow "$dir/x.npy"
    soft terminal "$ATTN"
    cp "$dir/seen" "$dir/log"
    over "attn: readi.*" && [ -z "$(left)" ] && awk -v most=$((columns - 1)) 'length($0) - 6 > most { exit 1 }' "$dir/over"
    ok "fits $columns columns"
done
columns=200
slow "$dir/x.npy"
soft "$ATTN"
[ ! -s "$dir/seen" ]
ok 'nothing where standard error is no terminal'
slow "$dir/x.npy"
soft env TERM=dumb python3 "$top/tests/terminal.py" $columns "$ATTN"
[ ! -s "$dir/seen" ]
ok 'nothing on a dumb terminal'
slow "$dir/x.npy"
soft terminal -b "$ATTN"
[ ! -s "$dir/seen" ] && cmp "$dir/y.npy" "$dir/wanted.npy" >"$dir/log"
ok 'nothing in the background'
head -c 262272 /dev/zero >"$dir/bad"
slow "$dir/bad"
soft terminal "$ATTN"
[ $? -eq 2 ] && over 'attn: reading .*' && [ "$(left | wc -l)" -eq 1 ] && has "$(left)" "left: attn: $dir/f: "
ok 'a message stands on a line of its own'
terminal "$ATTN" softmax --in "$dir/x.npy" -o "$dir/y.npy" >"$dir/seen"
[ ! -s "$dir/seen" ]
ok 'nothing of short work'

zeros "$dir/big.npy" f8 50331648 '(3072, 2048)'
{ head -c 20000000 >/dev/null && sleep 2 && cat >/dev/null; } <"$dir/out" &
terminal "$ATTN" softmax --in "$dir/big.npy" -o "$dir/out" >"$dir/seen"
cp "$dir/seen" "$dir/log"
over "attn: writing $dir/out: 66 %, [0-9]* s left" && [ -z "$(left)" ]
ok 'what is written: the share, and the time that is left'
rm "$dir/big.npy"

# ------------------------------------------------------------------- longer --

# long NAME ARGUMENTS...: an attn command of more and more tokens, in $dir/t.npy, until it takes long enough.
# They come in sequences of $length, each as $width numbers.
long() {
    name=$1
    shift
    tokens=4096
    until [ $tokens -gt 20000 ]; do
        tokens=$((2 * tokens))
        zeros "$dir/t.npy" f8 $((8 * width * tokens)) "($((tokens / ${length:-$tokens})), ${length:-$tokens}, $width)"
        terminal "$ATTN" "$@" --path scalar -o "$dir/y.npy" >"$dir/seen" || break
        ! over 'attn: computing: [0-9]* %, [0-9]* [a-z]* left' || [ "$(wc -l <"$dir/over")" -lt 2 ] || break
    done
    cp "$dir/seen" "$dir/log"
    over 'attn: computing: .*'
    sed 's/.*computing: \([0-9]*\) %.*/\1/' "$dir/over" >"$dir/shares"
    [ "$(wc -l <"$dir/over")" -gt 1 ] && sort -n "$dir/shares" | cmp - "$dir/shares" && [ -z "$(left)" ]
    ok "$name: the share that is computed, which only grows"
}
length='' width=8
long sdpa sdpa --q "$dir/t.npy" --k "$dir/t.npy" --v "$dir/t.npy"
long 'two threads' sdpa --q "$dir/t.npy" --k "$dir/t.npy" --v "$dir/t.npy" --threads 2
long 'sdpa --cache' sdpa --q "$dir/t.npy" --k "$dir/t.npy" --v "$dir/t.npy" --cache --paged 64
length=16 width=512 # projections take most of the time, one after the other
zeros "$dir/p.npy" f8 2097152 '(512, 512)'
long layer layer --x "$dir/t.npy" --wq "$dir/p.npy" --wk "$dir/p.npy" --wv "$dir/p.npy" --wo "$dir/p.npy"

# ----------------------------------------------------------------- same bits --

noise 2400 1 | npy "$dir/a.npy" f4 '(300, 8)'
noise 2400 2 | npy "$dir/b.npy" f4 '(8, 300)'
noise 64 3 | npy "$dir/w.npy" f4 '(8, 8)'
same() { # ARGUMENTS...: on a terminal and elsewhere, by one thread and by several
    for threads in 1 3; do
        run "$@" --threads $threads -o "$dir/wanted.npy" && terminal "$ATTN" "$@" --threads $threads -o "$dir/y.npy" \
            >"$dir/log" && cmp "$dir/y.npy" "$dir/wanted.npy" >"$dir/log"
        ok "the same bits: $1, $threads threads"
    done
}
same sdpa --q "$dir/a.npy" --k "$dir/a.npy" --v "$dir/a.npy" --causal upper-left
same sdpa --q "$dir/a.npy" --k "$dir/a.npy" --v "$dir/a.npy" --cache
same layer --x "$dir/a.npy" --wq "$dir/w.npy" --wk "$dir/w.npy" --wv "$dir/w.npy" --heads 2
same matmul --a "$dir/a.npy" --b "$dir/b.npy"
same softmax --in "$dir/b.npy" --axis 0

# ------------------------------------------------------------------ scripts --

cat >"$dir/script" <<'END'
set -eu
. "$top/check/progress.sh"
trap progress_off EXIT
progress_on 'some work' 10 20
sleep 3
progress_off
echo told
progress_on 'some work with quite a long name'
sleep 2
exit 1
END
export top
columns=30
terminal sh "$dir/script" >"$dir/seen"
cp "$dir/seen" "$dir/log"
over 'some work: [56][05] %, [789] s left' && over 'some work with quite a long n' && [ "$(left)" = 'left: told' ]
ok 'scripts: a line of progress, which is erased and fits'
sh "$dir/script" >"$dir/seen" 2>&1
[ "$(cat "$dir/seen")" = told ]
ok 'scripts: nothing elsewhere'
cat >"$dir/faults.py" <<'END'
import sys
import time
sys.path.insert(0, sys.argv[1])
import mutate
for number in range(2, 5):
    mutate.PROGRESS.at("slow tests with a long name", number, 9)
    time.sleep(0.1)
mutate.fail("told")
END
columns=60
terminal python3 "$dir/faults.py" "$top/fuzz/mutate" >"$dir/seen"
cp "$dir/seen" "$dir/log"
over 'mutate.py: slow tests with a long name, 4 of 9: [0-9]* s lef.*' && [ "$(left)" = 'left: mutate.py: told' ]
ok 'mutate.py: which fault of how many, and the time that is left'
python3 "$dir/faults.py" "$top/fuzz/mutate" >"$dir/seen" 2>&1
[ "$(cat "$dir/seen")" = 'mutate.py: told' ]
ok 'mutate.py: nothing elsewhere'
if [ -x bench/bench ]; then
    columns=80
    terminal bench/bench --cases roofline --seconds 3 >"$dir/seen"
    cp "$dir/seen" "$dir/log"
    over 'bench: roofline: [0-9]* %, [0-9]* s left' && ! left | grep '%'
    ok 'bench: the share that is measured'
else
    skip 'bench: the share that is measured' 'not built (make bench/bench)'
fi
plan
