#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# tool.sh - tests the attn program: values, file formats, the same bits, errors. Prints TAP.
# $ATTN is the program (default: ./attn), $RUN a command that runs it.

# shellcheck source=tests/npy.sh
. "${srcdir:-.}/tests/npy.sh"

# reference ROWS COLUMNS WHAT: scaled dot-product attention with q = k = v = the numbers of
# standard input, in the plainest form. Prints out, weights or lse.
reference() {
    awk -v rows="$1" -v columns="$2" -v what="$3" '{ for (i = 1; i <= NF; i++) x[n++] = $i }
    END {
        for (i = 0; i < rows; i++) {
            sum = 0; max = -1e300
            for (j = 0; j < rows; j++) {
                s[j] = 0
                for (c = 0; c < columns; c++) s[j] += x[i * columns + c] * x[j * columns + c]
                s[j] /= sqrt(columns)
                if (s[j] > max) max = s[j]
            }
            for (j = 0; j < rows; j++) sum += s[j] = exp(s[j] - max)
            if (what == "lse") printf "%.17g ", max + log(sum)
            for (j = 0; j < rows && what == "weights"; j++) printf "%.17g ", s[j] / sum
            for (c = 0; c < columns && what == "out"; c++) {
                o = 0
                for (j = 0; j < rows; j++) o += s[j] / sum * x[j * columns + c]
                printf "%.17g ", o
            }
        }
    }'
}

# -------------------------------------------------------------------- values --

echo '1 0 0 1' | npy "$dir/i2.npy" f4 '(2, 2)'
echo '1 2 3 4' | npy "$dir/wv.npy" f4 '(2, 2)'
echo '1 0 0 1' | npy "$dir/i2d.npy" f8 '(2, 2)'
echo '1 2 3 4' | npy "$dir/wvd.npy" f8 '(2, 2)'
known='1.6604769 2.6604769 2.3395231 3.3395231'

i=$dir/i2.npy
run layer --x "$i" --wq "$i" --wk "$i" --wv "$dir/wv.npy" -o "$dir/layer.npy" --weights "$dir/w.npy" &&
    near 1e-6 "$(values "$dir/layer.npy" f4)" "$known"
ok 'layer: the known values, float32'
near 1e-6 "$(values "$dir/w.npy" f4)" '0.66976155 0.33023845 0.33023845 0.66976155'
ok 'layer: the weights'
has "$(header "$dir/layer.npy")" "'fortran_order': False, 'shape': (2, 2), }" && [ "$(header_size "$dir/layer.npy")" -eq 128 ] &&
    [ "$(wc -c <"$dir/layer.npy")" -eq 144 ]
ok 'the header of an output'
i=$dir/i2d.npy
run layer --x "$i" --wq "$i" --wk "$i" --wv "$dir/wvd.npy" -o "$dir/layerd.npy" &&
    near 1e-7 "$(values "$dir/layerd.npy" f8)" "$known"
ok 'layer: the known values, float64'
run layer --x "$i" --wq "$i" --wk "$i" --wv "$dir/wvd.npy" -o "$dir/out.npy" --dtype f32 && cmp -s "$dir/out.npy" "$dir/layer.npy"
ok '--dtype f32 computes float64 input in float32'
run layer --x "$dir/i2.npy" --wq "$i" --wk "$i" --wv "$dir/wvd.npy" -o "$dir/out.npy" && cmp -s "$dir/out.npy" "$dir/layerd.npy"
ok 'one float64 input is enough for float64'

for scale in 1 5; do
    tokens=$(echo '1 0 1 0 0 2 0 2 1 1 1 1' | awk -v s=$scale '{ for (i = 1; i <= NF; i++) printf "%d ", s * $i }')
    for type in f4 f8; do
        tolerance=2e-6
        if [ $type = f8 ]; then tolerance=1e-14; fi
        if [ $scale = 5 ]; then tolerance=${tolerance%?}5; fi # |score| is 100
        echo "$tokens" | npy "$dir/x.npy" $type '(3, 4)'
        x=$dir/x.npy
        run sdpa --q "$x" --k "$x" --v "$x" -o "$dir/out.npy" --weights "$dir/w.npy"
        near "$tolerance" "$(values "$dir/out.npy" $type)" "$(echo "$tokens" | reference 3 4 out)" &&
            near "$tolerance" "$(values "$dir/w.npy" $type)" "$(echo "$tokens" | reference 3 4 weights)"
        ok "sdpa: three tokens times $scale, $type"
    done
done
run sdpa --q "$x" --k "$x" --v "$x" -o "$dir/out.npy" --lse "$dir/l.npy" &&
    near 1e-12 "$(values "$dir/l.npy" f8)" "$(echo "$tokens" | reference 3 4 lse)" && has "$(header "$dir/l.npy")" "'shape': (3,)"
ok 'sdpa: --lse'

run matmul --a "$dir/wv.npy" --b "$dir/wv.npy" -o "$dir/out.npy" && near 0 "$(values "$dir/out.npy" f4)" '7 10 15 22'
ok 'matmul: 2 x 2'
echo '1 0 0 1 2 0 0 2' | npy "$dir/two.npy" f4 '(2, 2, 2)'
run matmul --a "$dir/two.npy" --b "$dir/wv.npy" -o "$dir/out.npy" &&
    near 0 "$(values "$dir/out.npy" f4)" '1 2 3 4 2 4 6 8' && has "$(header "$dir/out.npy")" "'shape': (2, 2, 2)"
ok 'matmul: a matrix broadcasts over a batch'
run matmul --a "$dir/wv.npy" --b "$dir/two.npy" -o "$dir/out.npy" && near 0 "$(values "$dir/out.npy" f4)" '1 2 3 4 2 4 6 8'
ok 'matmul: from the left too'
echo '0 0 1 1' | npy "$dir/rows.npy" f4 '(2, 2)'
run softmax --in "$dir/rows.npy" -o "$dir/out.npy" && near 1e-7 "$(values "$dir/out.npy" f4)" '.5 .5 .5 .5'
ok 'softmax: the last axis without --axis'
run softmax --in "$dir/rows.npy" --axis 0 -o "$dir/out.npy" &&
    near 1e-7 "$(values "$dir/out.npy" f4)" '.26894142 .26894142 .73105858 .73105858'
ok 'softmax: --axis 0'
run softmax --in "$dir/rows.npy" --axis=-2 -o "$dir/out2.npy" && cmp -s "$dir/out.npy" "$dir/out2.npy"
ok 'softmax: --axis=-2 is the same axis'
echo '10000 0 -10000 10000' | npy "$dir/big.npy" f4 '(2, 2)'
run softmax --in "$dir/big.npy" -o "$dir/out.npy" && near 0 "$(values "$dir/out.npy" f4)" '1 0 0 1'
ok 'softmax: scores of 10000'

# ------------------------------------------------------------------- formats --

# The matrix 1 2 3 / 4 5 6 in every form that a file may have, multiplied by the unit matrix.
echo '1 0 0 0 1 0 0 0 1' | npy "$dir/i3.npy" f4 '(3, 3)'
echo '1 2 3 4 5 6' | npy "$dir/c.npy" f4 '(2, 3)'
run matmul --a "$dir/c.npy" --b "$dir/i3.npy" -o "$dir/plain.npy" && near 0 "$(values "$dir/plain.npy" f4)" '1 2 3 4 5 6'
ok 'C order, little endian'
same_as_plain() { # NAME: does file.npy hold the matrix?
    run matmul --a "$dir/file.npy" --b "$dir/i3.npy" -o "$dir/out.npy" --dtype f32 && cmp -s "$dir/out.npy" "$dir/plain.npy"
    ok "read: $1"
    rm -f "$dir/out.npy"
}
echo '1 4 2 5 3 6' | npy "$dir/file.npy" f4 '(2, 3)' little True
same_as_plain 'Fortran order'
echo '1 2 3 4 5 6' | npy "$dir/file.npy" f4 '(2, 3)' big
same_as_plain 'big endian'
echo '1 4 2 5 3 6' | npy "$dir/file.npy" f8 '(2,3,)' big True
same_as_plain 'float64, big endian, Fortran order'
echo '1 2 3 4 5 6' | npy "$dir/file.npy" f2 '(2, 3)'
same_as_plain 'float16'
echo '1 2 3 4 5 6' | npy "$dir/file.npy" f2 '(2, 3)' big
same_as_plain 'float16, big endian'
for version in 2 3; do
    printf '%b' "\\0223NUMPY\\000$version\\0000\\0164\\0000\\0000\\0000" >"$dir/file.npy"
    printf '%-115s\n' '{"shape":(2,3),"fortran_order":False,"descr":"<f4"}' >>"$dir/file.npy"
    tail -c 24 "$dir/c.npy" >>"$dir/file.npy"
    same_as_plain "version $version.0, keys in another order, double quotes"
done
printf '\223NUMPY\001\000\073\000%s' "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" >"$dir/file.npy"
tail -c 24 "$dir/c.npy" >>"$dir/file.npy"
same_as_plain 'a header without padding'
if : | cat /dev/stdin 2>/dev/null; then # needs /proc
    # shellcheck disable=SC2002
    cat "$dir/c.npy" | run matmul --a /dev/stdin --b "$dir/i3.npy" -o "$dir/out.npy" && cmp -s "$dir/out.npy" "$dir/plain.npy"
    ok 'read: a pipe'
else
    skip 'read: a pipe' 'no /dev/stdin'
fi
run matmul --a "$dir/plain.npy" --b "$dir/i3.npy" -o "$dir/plain.npy" && near 0 "$(values "$dir/plain.npy" f4)" '1 2 3 4 5 6'
ok 'an output may replace its input'
ln -s plain.npy "$dir/link.npy" && run matmul --a "$dir/rows.npy" --b "$dir/rows.npy" -o "$dir/link.npy" &&
    [ -h "$dir/link.npy" ] && near 0 "$(values "$dir/plain.npy" f4)" '0 0 1 1'
ok 'an output goes where a link points'
printf '' | npy "$dir/empty.npy" f4 '(0, 3)'
run matmul --a "$dir/empty.npy" --b "$dir/i3.npy" -o "$dir/out.npy" && [ "$(wc -c <"$dir/out.npy")" -eq 128 ] &&
    has "$(header "$dir/out.npy")" "'shape': (0, 3)"
ok 'no rows in, no rows out'

# ------------------------------------------------------------------ the same --

q_count=$((2 * 17 * 9)) kv_count=$((40 * 9))
noise $q_count 1 | npy "$dir/q.npy" f4 '(2, 17, 9)'
noise $kv_count 2 | npy "$dir/k.npy" f4 '(1, 40, 9)'
noise $kv_count 3 | npy "$dir/v.npy" f4 '(1, 40, 9)'
noise $q_count 1 | npy "$dir/q4.npy" f4 '(1, 2, 17, 9)'
noise $kv_count 2 | npy "$dir/k4.npy" f4 '(1, 1, 40, 9)'
noise $kv_count 3 | npy "$dir/v4.npy" f4 '(1, 1, 40, 9)'
k_npy=$dir/k.npy v_npy=$dir/v.npy
sdpa() { run sdpa --q "$dir/q.npy" --k "$k_npy" --v "$v_npy" "$@"; }

sdpa -o "$dir/o.npy" --weights "$dir/w.npy" --lse "$dir/l.npy" && has "$(header "$dir/o.npy")" "'shape': (2, 17, 9)" &&
    has "$(header "$dir/w.npy")" "'shape': (2, 17, 40)" && has "$(header "$dir/l.npy")" "'shape': (2, 17)"
ok 'sdpa: two query heads over one key head, and its shapes'
values "$dir/w.npy" f4 | awk '{ for (i = 1; i <= NF; i++) { s += $i; if (i % 40 == 0) { if (s < .99999 || s > 1.00001) exit 1; s = 0 } } }
    END { if (i != 2 * 17 * 40 + 1) exit 1 }'
ok 'sdpa: every row of the weights sums to 1'
run sdpa --q "$dir/q4.npy" --k "$dir/k4.npy" --v "$dir/v4.npy" -o "$dir/o4.npy" --weights "$dir/w4.npy" &&
    [ "$(values "$dir/o4.npy" x1)" = "$(values "$dir/o.npy" x1)" ] && [ "$(values "$dir/w4.npy" x1)" = "$(values "$dir/w.npy" x1)" ] &&
    has "$(header "$dir/w4.npy")" "'shape': (1, 2, 17, 40)"
ok 'sdpa: 4-D gives the bytes of 3-D'
noise $((17 * 9)) 1 | npy "$dir/q2.npy" f4 '(17, 9)'
noise $kv_count 2 | npy "$dir/k2.npy" f4 '(40, 9)'
noise $kv_count 3 | npy "$dir/v2.npy" f4 '(40, 9)'
run sdpa --q "$dir/q2.npy" --k "$dir/k2.npy" --v "$dir/v2.npy" -o "$dir/o2.npy" &&
    has "$(values "$dir/o.npy" x1)" "$(values "$dir/o2.npy" x1)" && [ "$(wc -c <"$dir/o2.npy")" -eq $((128 + 17 * 9 * 4)) ]
ok 'sdpa: 2-D gives the bytes of the first head'

run info >"$dir/info" && grep -q '^scalar  *yes  *yes  *yes' "$dir/info"
ok 'info: the scalar path is there'
sed '1,/^path /d' "$dir/info" >"$dir/paths"
awk '{ wrong = $2 $3 $4 == "yesyesyes" ? NF > 4 : !/ (not compiled in|emulated by .*|the CPU lacks .*)$/ }
    wrong { print; bad = 1 } END { exit bad || NR < 2 }' "$dir/paths" >"$dir/log"
ok 'info: what is not compiled in, does not run or is not native says why'
paths=$(awk '$1 != "scalar" { print $1 }' "$dir/paths")
for path in $paths; do
    name="--path $path gives the bytes of --path scalar"
    if grep -q "^$path  *yes  *yes" "$dir/paths"; then
        sdpa -o "$dir/o1.npy" --weights "$dir/w1.npy" --lse "$dir/l1.npy" --causal lower-right --path scalar &&
            sdpa -o "$dir/o2.npy" --weights "$dir/w2.npy" --lse "$dir/l2.npy" --causal lower-right --path "$path" &&
            cmp -s "$dir/o1.npy" "$dir/o2.npy" && cmp -s "$dir/w1.npy" "$dir/w2.npy" && cmp -s "$dir/l1.npy" "$dir/l2.npy"
        ok "$name"
        ATTN_PATH=$path
        export ATTN_PATH
        sdpa -o "$dir/o2.npy" --causal lower-right && cmp -s "$dir/o1.npy" "$dir/o2.npy"
        ok "ATTN_PATH=$path too"
        unset ATTN_PATH
    else
        skip "$name" 'not on this machine'
        refused "--path $path where it is not" "--path: " sdpa --q "$dir/q.npy" --k "$dir/k.npy" --v "$dir/v.npy" \
            -o "$dir/no.npy" --path "$path"
    fi
done
sdpa -o "$dir/o1.npy" --lse "$dir/l1.npy" --threads 1 && sdpa -o "$dir/o2.npy" --lse "$dir/l2.npy" --threads 3 &&
    cmp -s "$dir/o1.npy" "$dir/o.npy" && cmp -s "$dir/o1.npy" "$dir/o2.npy" && cmp -s "$dir/l1.npy" "$dir/l2.npy"
ok '--threads 1 and --threads 3 give the same bytes'

# ------------------------------------------------------------------- visible --

sdpa -o "$dir/out.npy" --causal upper-left && near 0 "$(values "$dir/out.npy" f4 | cut -d' ' -f2-10)" "$(values "$dir/v.npy" f4 | cut -d' ' -f2-10)"
ok '--causal upper-left: the first query sees the first key'
sdpa -o "$dir/o2.npy" --causal 0 && cmp -s "$dir/out.npy" "$dir/o2.npy"
ok '--causal 0 is upper-left'
sdpa -o "$dir/o1.npy" --causal lower-right && sdpa -o "$dir/o2.npy" --causal 23 && cmp -s "$dir/o1.npy" "$dir/o2.npy" &&
    ! cmp -s "$dir/o1.npy" "$dir/out.npy"
ok '--causal lower-right is the offset 40 - 17'
sdpa -o "$dir/o2.npy" --causal 39 && cmp -s "$dir/o2.npy" "$dir/o.npy"
ok '--causal 39 hides nothing'
sdpa -o "$dir/out.npy" --causal -100 --weights "$dir/w2.npy" && [ -z "$(values "$dir/out.npy" x1 | tr -d ' 0')" ] &&
    [ -z "$(values "$dir/w2.npy" x1 | tr -d ' 0')" ]
ok '--causal -100 hides everything: zeros'
sdpa -o "$dir/out.npy" --weights "$dir/w2.npy" --scale 1e-30 && near 1e-6 "$(values "$dir/w2.npy" f4 | cut -d' ' -f2-4)" '.025 .025 .025'
ok '--scale'

# option NAME ARGUMENTS...: runs sdpa with the arguments; skips the test if the library refuses them.
option() {
    name=$1
    shift
    sdpa -o "$dir/out.npy" "$@" && return 0
    if grep -q 'sdpa: ' "$dir/stderr"; then skip "$name" "$(cat "$dir/stderr")"; else false; ok "$name"; fi
    return 1
}
if option '--window 0,0' --window 0,0; then
    near 0 "$(values "$dir/out.npy" f4 | cut -d' ' -f2-154)" "$(values "$dir/v.npy" f4 | cut -d' ' -f2-154)"
    ok '--window 0,0: each query sees its own key'
fi
awk 'BEGIN { for (i = 0; i < 17; i++) for (j = 0; j < 40; j++) printf "%d ", j <= i }' | npy "$dir/mask.npy" b1 '(17, 40)'
if option '--mask' --mask "$dir/mask.npy"; then
    sdpa -o "$dir/o2.npy" --causal upper-left && cmp -s "$dir/out.npy" "$dir/o2.npy"
    ok '--mask: a triangle of bool is --causal upper-left'
    for type in i1 u1 i4 i8; do
        awk 'BEGIN { for (i = 0; i < 17; i++) for (j = 0; j < 40; j++) printf "%d ", j <= i }' | npy "$dir/mask.npy" $type '(17, 40)'
        sdpa -o "$dir/out.npy" --mask "$dir/mask.npy" && cmp -s "$dir/out.npy" "$dir/o2.npy"
        ok "--mask: a triangle of ones and zeros, $type, too"
    done
fi
awk 'BEGIN { for (i = 0; i < 17; i++) printf "0 %d ", i + 1 }' | npy "$dir/bounds.npy" i4 '(17, 2)'
sdpa -o "$dir/out.npy" --q-bounds "$dir/bounds.npy" && sdpa -o "$dir/o2.npy" --causal upper-left && cmp -s "$dir/out.npy" "$dir/o2.npy"
ok '--q-bounds: from 0 to each query are --causal upper-left'
echo 0 17 | npy "$dir/cu1.npy" i8 '(2,)'
for how in '' '--paged 6'; do
    # shellcheck disable=SC2086
    run sdpa --q "$dir/q.npy" --k "$dir/k4.npy" --v "$dir/v4.npy" -o "$dir/o2.npy" --cu-seqlens-q "$dir/cu1.npy" $how &&
        cmp -s "$dir/o.npy" "$dir/o2.npy"
    ok "--cu-seqlens-q: one sequence is a batch of one${how:+, $how}"
done
{ values "$dir/k.npy" f4 && values "$dir/k.npy" f4; } | npy "$dir/kk.npy" f4 '(2, 1, 40, 9)'
{ values "$dir/v.npy" f4 && values "$dir/v.npy" f4; } | npy "$dir/vv.npy" f4 '(2, 1, 40, 9)'
echo 0 5 17 | npy "$dir/cu.npy" i4 '(3,)'
run sdpa --q "$dir/q.npy" --k "$dir/kk.npy" --v "$dir/vv.npy" -o "$dir/o2.npy" --cu-seqlens-q "$dir/cu.npy" --colsum "$dir/c.npy" &&
    near 1e-5 "$(values "$dir/o2.npy" f4)" "$(values "$dir/o.npy" f4)" && has "$(header "$dir/c.npy")" "'shape': (2, 2, 40)"
ok '--cu-seqlens-q: two sequences over the same keys'
echo 1 | npy "$dir/len.npy" i8 '(1,)'
if option '--kv-lens' --kv-lens "$dir/len.npy"; then
    near 0 "$(values "$dir/out.npy" f4 | cut -d' ' -f11-19)" "$(values "$dir/v.npy" f4 | cut -d' ' -f2-10)"
    ok '--kv-lens: of one key, each query sees it alone'
fi
echo '1e6 1e6' | npy "$dir/slopes.npy" f4 '(2,)'
if option '--alibi' --alibi "$dir/slopes.npy"; then
    near 0 "$(values "$dir/out.npy" f4 | cut -d' ' -f2-154)" "$(values "$dir/v.npy" f4 | cut -d' ' -f2-154)"
    ok '--alibi: with steep slopes each query sees its own key'
fi
echo '0 -1e30' | npy "$dir/distances.npy" f4 '(2,)'
if option '--rel-bias' --rel-bias "$dir/distances.npy" --rel-clamp --window -1,0; then
    near 0 "$(values "$dir/out.npy" f4 | cut -d' ' -f2-154)" "$(values "$dir/v.npy" f4 | cut -d' ' -f2-154)"
    ok '--rel-bias, --rel-clamp: 0 at a distance of 0 and little beyond, each query sees its own key'
fi
awk 'BEGIN { for (i = 0; i < 17; i++) for (j = 0; j < 40; j++) printf "%d ", i - j == 2 ? 3 : i - j == 3 ? -2 : 0 }' | npy "$dir/band.npy" f4 '(17, 40)'
echo '3 -2' | npy "$dir/distances.npy" f4 '(2,)'
sdpa -o "$dir/o1.npy" --mask "$dir/band.npy" && sdpa -o "$dir/o2.npy" --rel-bias "$dir/distances.npy" --rel-first 2 && cmp -s "$dir/o1.npy" "$dir/o2.npy"
ok '--rel-first: distances from 2 on, and nothing elsewhere, as in a mask'
echo '-1e30 1e30' | npy "$dir/sinks.npy" f4 '(2,)'
if option '--sinks' --sinks "$dir/sinks.npy" --weights "$dir/w2.npy"; then
    values "$dir/w2.npy" f4 | awk '{ for (i = 1; i <= NF; i++) if (i <= 17 * 40) low += $i; else high += $i }
        END { exit !(low > 16.999 && low < 17.001 && high == 0) }'
    ok '--sinks: a low one takes nothing, a high one everything'
fi
if option '--softcap' --softcap 1e-6 --weights "$dir/w2.npy"; then
    near 1e-6 "$(values "$dir/w2.npy" f4 | cut -d' ' -f2-4)" '.025 .025 .025'
    ok '--softcap: a cap of 1e-6 leaves equal weights'
fi
if option '--scores --stage probs' --scores "$dir/s.npy" --stage probs --weights "$dir/w2.npy"; then
    cmp -s "$dir/s.npy" "$dir/w.npy" && cmp -s "$dir/w2.npy" "$dir/w.npy"
    ok '--scores --stage probs are the weights'
fi
if option '--scores --stage raw' --scores "$dir/s.npy" --stage raw; then
    run softmax --in "$dir/s.npy" -o "$dir/w2.npy" &&
        near 1e-6 "$(values "$dir/w2.npy" f4)" "$(values "$dir/w.npy" f4)"
    ok '--scores --stage raw: their softmax are the weights, but for roundings'
fi
sdpa -o "$dir/out.npy" --colsum "$dir/c.npy" && cmp -s "$dir/out.npy" "$dir/o.npy" && has "$(header "$dir/c.npy")" "'shape': (2, 40)" &&
    values "$dir/c.npy" f4 | awk '{ for (i = 1; i <= NF; i++) s += $i } END { exit !(s > 33.999 && s < 34.001) }'
ok '--colsum: adds up to the number of rows'
sdpa -o "$dir/out.npy" --rowmax "$dir/m.npy" --rowsum "$dir/n.npy" --lse "$dir/l.npy" --scores "$dir/s.npy" --stage biased &&
    cmp -s "$dir/out.npy" "$dir/o.npy" && has "$(header "$dir/m.npy")" "'shape': (2, 17)" &&
    near 1e-5 "$(values "$dir/m.npy" f4)" "$(values "$dir/s.npy" f4 | awk '{ for (i = 1; i <= NF; i++) {
        if (n % 40 == 0 || $i > m) m = $i
        if (++n % 40 == 0) printf "%.9g ", m } }')" &&
    near 1e-5 "$(values "$dir/l.npy" f4)" "$(echo "$(values "$dir/m.npy" f4) $(values "$dir/n.npy" f4)" |
        awk '{ for (i = 1; i <= NF; i++) x[++n] = $i } END { for (i = 1; i <= n / 2; i++) printf "%.9g ", x[i] + log(x[n / 2 + i]) }')"
ok '--rowmax and --rowsum: the largest scores, and what log-sum-exp is with them'
if option '--dtype f16' --dtype f16; then
    awk 'BEGIN { for (i = 0; i < 81; i++) printf "%d ", i % 10 == 0 }' | npy "$dir/i9.npy" f4 '(9, 9)'
    has "$(header "$dir/out.npy")" "f2'" && run matmul --a "$dir/out.npy" --b "$dir/i9.npy" -o "$dir/o2.npy" &&
        near .002 "$(values "$dir/o2.npy" f4)" "$(values "$dir/o.npy" f4)"
    ok '--dtype f16 writes float16, near float32'
fi
if option '--dtype bf16' --dtype bf16; then
    near .02 "$(values "$dir/out.npy" f4)" "$(values "$dir/o.npy" f4)"
    ok '--dtype bf16 is near float32'
fi
if option '--kv-dtype f16' --kv-dtype f16; then
    near .002 "$(values "$dir/out.npy" f4)" "$(values "$dir/o.npy" f4)" && ! cmp -s "$dir/out.npy" "$dir/o.npy"
    ok '--kv-dtype f16 is near float32'
fi

# ---------------------------------------------------------------- eight bits --

# coded TYPE WHAT: rows of 9 float32 numbers of standard input in 8 bits (i8, e4m3, e5m2), with a scale that is found
# for each row. Prints the codes, the scales or the float32 numbers that they stand for. What is rounded to float32 here
# was computed in double: for quotients and products of few bits that is the same as rounding once.
coded() {
    awk -v type="$1" -v what="$2" '
    function rounded(x, bits, least,   sign, e, n, i) { # to nearest even
        if (x == 0) return 0
        sign = x < 0 ? -1 : 1
        x *= sign
        for (e = 0; x >= 2 ^ (e + 1); e++);
        for (; x < 2 ^ e; e--);
        if (e < least) e = least
        n = x / 2 ^ (e - bits + 1)
        i = int(n)
        if (n - i > .5 || (n - i == .5 && i % 2)) i++
        return sign * i * 2 ^ (e - bits + 1)
    }
    function f32(x) { return rounded(x, 24, -126) }
    function nearest(x) { return type == "i8" ? rounded(x, 9, 8) : type == "e4m3" ? rounded(x, 4, -6) : rounded(x, 3, -14) }
    function code(x,   least, fraction, e, sign) {
        if (type == "i8") return x
        least = type == "e4m3" ? -6 : -14
        fraction = type == "e4m3" ? 8 : 4
        sign = x < 0 ? 128 : 0
        x = x < 0 ? -x : x
        for (e = least; x >= 2 ^ (e + 1); e++);
        return sign + (x < 2 ^ least ? 0 : (e - least) * fraction) + x / 2 ^ e * fraction
    }
    BEGIN { top = type == "i8" ? 127 : type == "e4m3" ? 448 : 57344 }
    {
        for (i = 1; i <= NF; i += 9) {
            most = 0
            for (j = i; j < i + 9; j++) if ($j > most) most = $j; else if (-$j > most) most = -$j
            scale = f32(most / top)
            if (what == "scales") printf "%.17g ", scale
            for (j = i; j < i + 9 && what != "scales"; j++) {
                x = nearest(f32($j / scale))
                printf "%.17g ", what == "codes" ? code(x) : f32(x * scale)
            }
        }
    }'
}
for type in i8 e4m3 e5m2; do
    sdpa -o "$dir/o1.npy" --kv-dtype $type
    noise $kv_count 2 | coded $type numbers | npy "$dir/kn.npy" f4 '(1, 40, 9)'
    noise $kv_count 3 | coded $type numbers | npy "$dir/vn.npy" f4 '(1, 40, 9)'
    run sdpa --q "$dir/q.npy" --k "$dir/kn.npy" --v "$dir/vn.npy" -o "$dir/o2.npy" && cmp -s "$dir/o1.npy" "$dir/o2.npy" &&
        ! cmp -s "$dir/o1.npy" "$dir/o.npy"
    ok "--kv-dtype $type: as the float32 numbers that are left"
    bytes=u1 stored="--kv-dtype $type"
    if [ $type = i8 ]; then bytes=i1 stored=''; fi
    noise $kv_count 2 | coded $type codes | npy "$dir/k-$type.npy" $bytes '(1, 40, 9)'
    noise $kv_count 3 | coded $type codes | npy "$dir/v-$type.npy" $bytes '(1, 40, 9)'
    noise $kv_count 2 | coded $type scales | npy "$dir/ks-$type.npy" f4 '(40, 1)'
    noise $kv_count 3 | coded $type scales | npy "$dir/vs-$type.npy" f4 '(1, 40, 1)'
    # shellcheck disable=SC2086 # an option and its value
    run sdpa --q "$dir/q.npy" --k "$dir/k-$type.npy" --v "$dir/v-$type.npy" -o "$dir/o2.npy" $stored \
        --k-scale "$dir/ks-$type.npy" --v-scale "$dir/vs-$type.npy" && cmp -s "$dir/o1.npy" "$dir/o2.npy"
    ok "files of $bytes hold $type, with --k-scale and --v-scale"
    # shellcheck disable=SC2086
    run sdpa --q "$dir/q.npy" --k "$dir/k-$type.npy" --v "$dir/v.npy" -o "$dir/o2.npy" --kv-dtype $type \
        --k-scale "$dir/ks-$type.npy" && cmp -s "$dir/o1.npy" "$dir/o2.npy"
    ok "keys in a file of $bytes, values that are converted to $type"
done
# uint8 with scales and zero points: of each key and group of columns; of all, and of each key.
codes() { awk -v n="$kv_count" -v x="$1" 'BEGIN { for (; n > 0; n--) { x = (x * 75 + 74) % 65537; printf "%d ", x % 256 } }'; }
meant() { # SCALE ZERO: awk expressions of row r and column c
    awk "{ for (i = 0; i < NF; i++) { r = int(i / 9); c = i % 9; printf \"%.17g \", (\$(i + 1) - ($2)) * ($1) } }"
}
codes 1 | npy "$dir/k-u8.npy" u1 '(1, 40, 9)'
codes 2 | npy "$dir/v-u8.npy" u1 '(1, 40, 9)'
codes 1 | meant '2 ^ (int(c / 3) - 8 - r % 5)' '128 + int(c / 3)' | npy "$dir/kn.npy" f4 '(1, 40, 9)'
codes 2 | meant '2 ^ -7' '100 + r' | npy "$dir/vn.npy" f4 '(1, 40, 9)'
awk 'BEGIN { for (r = 0; r < 40; r++) for (g = 0; g < 3; g++) printf "%.17g ", 2 ^ (g - 8 - r % 5) }' | npy "$dir/ks.npy" f4 '(40, 3)'
echo '128 129 130' | npy "$dir/kz.npy" f4 '(3,)'
awk 'BEGIN { print 2 ^ -7 }' | npy "$dir/vs.npy" f8 '(1,)'
awk 'BEGIN { for (r = 0; r < 40; r++) printf "%d ", 100 + r }' | npy "$dir/vz.npy" f2 '(1, 40, 1)'
scales="--k-scale $dir/ks.npy --k-zero $dir/kz.npy --v-scale $dir/vs.npy --v-zero $dir/vz.npy"
# shellcheck disable=SC2086 # options and their values
run sdpa --q "$dir/q.npy" --k "$dir/kn.npy" --v "$dir/vn.npy" -o "$dir/o1.npy" &&
    run sdpa --q "$dir/q.npy" --k "$dir/k-u8.npy" --v "$dir/v-u8.npy" -o "$dir/o2.npy" $scales && cmp -s "$dir/o1.npy" "$dir/o2.npy"
ok 'files of u1 hold uint8, with scales and zero points of several shapes and types'
# shellcheck disable=SC2086
run sdpa --q "$dir/q.npy" --k "$dir/kn.npy" --v "$dir/vn.npy" -o "$dir/o2.npy" --kv-dtype u8 $scales && cmp -s "$dir/o1.npy" "$dir/o2.npy"
ok '--kv-dtype u8 by scales and zero points that are given'

# --------------------------------------------------------- caches and pages --

# Writes all outputs of sdpa to o.npy, w.npy, l.npy, c.npy, m.npy and n.npy in a directory.
everything() { # DIRECTORY ARGUMENTS...
    to=$1
    shift
    rm -rf "$to"
    mkdir "$to" && sdpa -o "$to/o.npy" --weights "$to/w.npy" --lse "$to/l.npy" --colsum "$to/c.npy" --rowmax "$to/m.npy" --rowsum "$to/n.npy" "$@"
}
# With pages, with a cache and with both, all outputs have the bytes of the plain run.
same_by_cache() { # NAME ARGUMENTS...
    name=$1
    shift
    everything "$dir/plain" "$@"
    ok "$name: plain"
    for how in '--paged 1' '--paged 7' '--paged 40' '--paged 64' '--cache' '--cache --paged 16' '--cache --threads 3' '--paged 9 --threads 2'; do
        # shellcheck disable=SC2086 # options and their values
        everything "$dir/cached" "$@" $how && cmp -s "$dir/plain/o.npy" "$dir/cached/o.npy" &&
            cmp -s "$dir/plain/w.npy" "$dir/cached/w.npy" && cmp -s "$dir/plain/l.npy" "$dir/cached/l.npy" &&
            cmp -s "$dir/plain/c.npy" "$dir/cached/c.npy" && cmp -s "$dir/plain/m.npy" "$dir/cached/m.npy" &&
            cmp -s "$dir/plain/n.npy" "$dir/cached/n.npy"
        ok "$name: $how gives the same bytes"
    done
}
awk 'BEGIN { for (i = 0; i < 40; i++) printf "%d ", (i % 3 > 0) }' | npy "$dir/keys.npy" b1 '(40,)'
noise 680 11 | npy "$dir/bias.npy" f4 '(17, 40)' little True
echo 33 | npy "$dir/len.npy" i8 '(1,)'
echo '.5 .25' | npy "$dir/slopes.npy" f4 '(2,)'
same_by_cache 'all keys'
same_by_cache 'causal upper-left, mask' --causal upper-left --mask "$dir/keys.npy"
same_by_cache 'causal lower-right, lengths, ALiBi' --causal lower-right --kv-lens "$dir/len.npy" --alibi "$dir/slopes.npy"
same_by_cache 'causal with offset, window, additive mask, softcap' --causal 25 --window 20,0 --mask "$dir/bias.npy" --softcap 2
noise 340 12 | npy "$dir/distances.npy" f4 '(2, 17, 10)'
same_by_cache 'causal lower-right, relative bias' --causal lower-right --rel-bias "$dir/distances.npy" --rel-first -2 --rel-clamp
same_by_cache 'causal, mask of bits' --causal upper-left --mask "$dir/keys.npy" --mask-bits
awk 'BEGIN { for (i = 0; i < 23; i++) printf "%d ", (i % 3 > 0) }' | npy "$dir/few.npy" b1 '(23,)'
awk 'BEGIN { for (i = 0; i < 40; i++) printf "%d ", (i < 23 && i % 3 > 0) }' | npy "$dir/first.npy" b1 '(40,)'
awk 'BEGIN { for (i = 0; i < 40; i++) printf "%d ", (i < 17 || (i - 17) % 3 > 0) }' | npy "$dir/last.npy" b1 '(40,)'
everything "$dir/whole" --mask "$dir/first.npy" && everything "$dir/plain" --mask "$dir/few.npy" --mask-place keys &&
    cmp -s "$dir/whole/o.npy" "$dir/plain/o.npy" && cmp -s "$dir/whole/w.npy" "$dir/plain/w.npy"
ok '--mask-place keys: other keys are hidden'
everything "$dir/whole" --mask "$dir/last.npy" && everything "$dir/plain" --mask "$dir/few.npy" --mask-place tail --mask-bits &&
    cmp -s "$dir/whole/o.npy" "$dir/plain/o.npy" && cmp -s "$dir/whole/w.npy" "$dir/plain/w.npy"
ok '--mask-place tail: other keys are visible'
same_by_cache 'mask for the first keys' --causal upper-left --mask "$dir/few.npy" --mask-place keys
same_by_cache 'mask of bits for the last keys' --mask "$dir/few.npy" --mask-place tail --mask-bits
same_by_cache 'keys before the first, sinks' --causal -5 --sinks "$dir/slopes.npy"
same_by_cache 'float64, window' --dtype f64 --window 3,5
same_by_cache 'float16 keys' --kv-dtype f16 --causal lower-right
same_by_cache 'int8 keys' --kv-dtype i8 --causal lower-right
same_by_cache 'e4m3 keys' --kv-dtype e4m3 --window 3,5
same_by_cache 'bfloat16' --dtype bf16
same_by_cache 'intervals' --q-bounds "$dir/bounds.npy"
k_npy=$dir/k-u8.npy v_npy=$dir/v-u8.npy
# shellcheck disable=SC2086 # options and their values
same_by_cache 'stored uint8' $scales --causal lower-right
k_npy=$dir/k.npy v_npy=$dir/v-e4m3.npy
same_by_cache 'stored e4m3 values' --kv-dtype e4m3 --v-scale "$dir/vs-e4m3.npy"
v_npy=$dir/v.npy
sdpa -o "$dir/o1.npy" --scores "$dir/s1.npy" --stage biased --causal lower-right &&
    sdpa -o "$dir/o2.npy" --scores "$dir/s2.npy" --stage biased --causal lower-right --cache --paged 6 && cmp -s "$dir/s1.npy" "$dir/s2.npy"
ok '--scores --stage biased: the same by --cache and --paged'
everything "$dir/plain" --causal lower-right --window 8,0 --mask "$dir/keys.npy"
# shellcheck disable=SC2086 # options and their values
for how in '--ring 9' '--ring 11 --ring-sinks 2' '--ring 9 --threads 2'; do
    rm -f "$dir"/[oln]2.npy
    sdpa -o "$dir/o2.npy" --lse "$dir/l2.npy" --rowsum "$dir/n2.npy" --causal lower-right --window 8,0 --mask "$dir/keys.npy" --cache $how &&
        cmp -s "$dir/plain/o.npy" "$dir/o2.npy" && cmp -s "$dir/plain/l.npy" "$dir/l2.npy" && cmp -s "$dir/plain/n.npy" "$dir/n2.npy"
    ok "--cache $how: the same bytes"
done
k_npy=$dir/k-u8.npy v_npy=$dir/v-u8.npy
# shellcheck disable=SC2086 # options and their values
sdpa -o "$dir/o1.npy" $scales --causal lower-right --window 8,0 &&
    sdpa -o "$dir/o2.npy" $scales --causal lower-right --window 8,0 --cache --ring 10 --ring-sinks 1 && cmp -s "$dir/o1.npy" "$dir/o2.npy"
ok '--cache --ring, stored uint8: the same bytes'
k_npy=$dir/k.npy v_npy=$dir/v.npy
run sdpa --q "$dir/q4.npy" --k "$dir/k4.npy" --v "$dir/v4.npy" -o "$dir/o2.npy" --cache --paged 3 &&
    [ "$(values "$dir/o2.npy" x1)" = "$(values "$dir/o.npy" x1)" ]
ok '4-D by a cache of pages'
run sdpa --q "$dir/q2.npy" --k "$dir/k2.npy" --v "$dir/v2.npy" -o "$dir/o2.npy" --cache &&
    has "$(values "$dir/o.npy" x1)" "$(values "$dir/o2.npy" x1)"
ok '2-D by a cache'

# --------------------------------------------------------------------- layer --

noise $((6 * 8)) 4 | npy "$dir/x.npy" f4 '(1, 6, 8)'
noise 64 5 | npy "$dir/wq.npy" f4 '(8, 8)'
noise 32 6 | npy "$dir/wk.npy" f4 '(8, 4)'
noise 48 7 | npy "$dir/wv6.npy" f4 '(8, 6)'
noise 36 8 | npy "$dir/wo.npy" f4 '(12, 3)'
echo '1 2 3' | npy "$dir/bo.npy" f4 '(3,)'
layer() { run layer --x "$dir/x.npy" --wq "$dir/wq.npy" --wk "$dir/wk.npy" --wv "$dir/wv6.npy" "$@"; }
layer --heads 4 --wo "$dir/wo.npy" -o "$dir/y.npy" --weights "$dir/w.npy" && has "$(header "$dir/y.npy")" "'shape': (1, 6, 3)" &&
    has "$(header "$dir/w.npy")" "'shape': (1, 4, 6, 6)"
ok 'layer: 4 heads, 2 key heads, an output projection'
layer --heads 4 -o "$dir/y2.npy" && run matmul --a "$dir/y2.npy" --b "$dir/wo.npy" -o "$dir/y3.npy" && cmp -s "$dir/y.npy" "$dir/y3.npy"
ok 'layer: the output projection is a matmul'
layer --heads 4 --wo "$dir/wo.npy" --bo "$dir/bo.npy" -o "$dir/y2.npy" &&
    near 1e-5 "$(values "$dir/y2.npy" f4)" "$(values "$dir/y.npy" f4 | awk '{ for (i = 1; i <= NF; i++) printf "%.9g ", $i + 1 + (i - 1) % 3 }')"
ok 'layer: --bo'
noise $((6 * 8)) 4 | awk '{ for (i = 1; i <= NF; i++) printf "%s %s", $i, i % 8 ? "" : "1 " }' | npy "$dir/x1.npy" f4 '(1, 6, 9)'
for w in wq:8:64:5 wk:4:32:6 wv6:6:48:7; do # the biases as a ninth row of the weights, with a ninth column of ones in x
    IFS=: read -r name columns count seed <<EOT
$w
EOT
    bias=$(noise "$columns" 9)
    echo "$bias" | npy "$dir/b$name.npy" f4 "($columns,)"
    echo "$(noise "$count" "$seed") $bias" | npy "$dir/${name}9.npy" f4 "(9, $columns)"
done
layer --heads 4 --bq "$dir/bwq.npy" --bk "$dir/bwk.npy" --bv "$dir/bwv6.npy" -o "$dir/y2.npy" &&
    run layer --x "$dir/x1.npy" --wq "$dir/wq9.npy" --wk "$dir/wk9.npy" --wv "$dir/wv69.npy" --heads 4 -o "$dir/y3.npy" &&
    near 1e-5 "$(values "$dir/y2.npy" f4)" "$(values "$dir/y3.npy" f4)"
ok 'layer: --bq, --bk, --bv'
run layer --x "$dir/x.npy" --wq "$dir/wq.npy" --wk "$dir/wq.npy" --wv "$dir/wq.npy" -o "$dir/y2.npy" --weights "$dir/w.npy" &&
    has "$(header "$dir/y2.npy")" "'shape': (1, 6, 8)" && has "$(header "$dir/w.npy")" "'shape': (1, 6, 6)"
ok 'layer: the shapes of a batch of one'
layer --heads 4 -o "$dir/y2.npy" --causal upper-left --weights "$dir/w.npy" &&
    near 0 "$(values "$dir/w.npy" f4 | cut -d' ' -f2-7)" '1 0 0 0 0 0'
ok 'layer: --causal'

# -------------------------------------------------------------------- errors --

q=$dir/q.npy k=$dir/k.npy v=$dir/v.npy no=$dir/no.npy
refused 'no command' 'attn --help'
refused 'an unknown command' "'attend'" attend
refused 'an unknown option' "unknown option '--foo' (see attn sdpa --help)" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --foo 1
refused 'an option without its value' "'-o'" sdpa --q "$q" --k "$k" --v "$v" -o
refused 'an option twice' "'--q'" sdpa --q "$q" --q "$q" --k "$k" --v "$v" -o "$no"
refused 'an option missing' '--v' sdpa --q "$q" --k "$k" -o "$no"
refused 'an argument too many' "'extra'" softmax --in "$q" -o "$no" extra
refused 'a scale that is no number' "--scale: 'x'" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --scale x
refused 'an offset that is no number' "--causal: 'lower'" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --causal lower
refused 'half a window' "--window: '3'" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --window 3
refused 'a window of -2' "--window: -2" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --window -2,0
refused 'a ring without a cache' '--ring needs --cache' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --ring 9
refused 'sinks without a ring' '--ring-sinks needs --ring' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --cache --ring-sinks 1
refused 'sinks of all rows' '--ring-sinks: 9' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --cache --ring 9 --ring-sinks 9
refused 'a ring of pages' '--ring goes neither with --paged' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --cache --ring 9 --paged 3
refused 'a ring that is too small' 'no longer holds' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --cache --ring 2
refused 'pages of nothing' "--paged: 0" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --paged 0
refused 'a page size that is no number' "--paged: '4k'" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --paged 4k
refused 'a value for --cache' "option '--cache' takes no value" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --cache=yes
refused '--cache twice' "option '--cache' is given twice" sdpa --q "$q" --k "$k" --v "$v" --cache --cache -o "$no"
echo 41 | npy "$dir/long.npy" i4 '(1,)'
for how in '' '--paged 64' '--cache'; do # shellcheck disable=SC2086
    refused "more keys than there are $how" 'sdpa: a key/value length' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --kv-lens "$dir/long.npy" $how
done
refused 'no threads' "--threads: 0" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --threads 0
refused 'an unknown path' "--path: unknown value 'sse'" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --path sse
refused 'an unknown element type' "--dtype: unknown value 'f8'" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --dtype f8
refused 'a stage of nothing' '--stage' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --stage raw
ATTN_PATH=sse
export ATTN_PATH
refused 'an unknown path in ATTN_PATH' "ATTN_PATH: unknown value 'sse'" sdpa --q "$q" --k "$k" --v "$v" -o "$no"
unset ATTN_PATH

refused 'a missing file' "$dir/none.npy: " sdpa --q "$dir/none.npy" --k "$k" --v "$v" -o "$no"
refused 'a name with a newline' "$dir/a?b.npy: " softmax --in "$dir/a
b.npy" -o "$no"
refused 'a directory as input' "$dir: " softmax --in "$dir" -o "$no"
refused 'another head dimension' "$dir/two.npy: the head dimension is 2" sdpa --q "$q" --k "$dir/two.npy" --v "$v" -o "$no"
refused 'another number of keys' "$q: the number of keys is 17" sdpa --q "$q" --k "$k" --v "$q" -o "$no"
refused 'heads that do not divide' "$q: has 2 heads" sdpa --q "$k" --k "$q" --v "$q" -o "$no"
refused 'another rank' "$dir/k2.npy: has 2 dimensions" sdpa --q "$q" --k "$dir/k2.npy" --v "$dir/v2.npy" -o "$no"
refused 'a vector for a matrix' "$dir/slopes.npy: has shape (2,)" matmul --a "$dir/slopes.npy" --b "$dir/wv.npy" -o "$no"
refused 'matrices that do not fit' "$dir/wv.npy: the inner dimension is 2" matmul --a "$dir/i3.npy" --b "$dir/wv.npy" -o "$no"
refused 'an axis that is not there' "$dir/rows.npy: axis 2 is out of range" softmax --in "$dir/rows.npy" --axis 2 -o "$no"
refused 'a mask of another shape' "$dir/wv.npy: axis 1" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --mask "$dir/wv.npy"
refused 'slopes that are too few' "$dir/len.npy: has shape (1,)" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --alibi "$dir/len.npy"
refused 'a relative bias of other queries' "$dir/distances.npy: axis 1 has length 17 instead of 40 or 1" sdpa --q "$k" --k "$k" --v "$v" -o "$no" --rel-bias "$dir/distances.npy"
refused 'a relative bias of integers' "$dir/len.npy: " sdpa --q "$q" --k "$k" --v "$v" -o "$no" --rel-bias "$dir/len.npy"
refused 'a first distance without a bias' '--rel-first needs --rel-bias' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --rel-first 3
echo 40 | npy "$dir/one.npy" f4 '(1,)'
refused 'a first distance too far' '--rel-first: ' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --rel-bias "$dir/one.npy" --rel-first 3000000000000000000
echo '1 1' | npy "$dir/short.npy" b1 '(2, 1)'
refused 'a mask with one key' "$dir/short.npy: axis 1 has length 1 instead of 40" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --mask "$dir/short.npy"
awk 'BEGIN { for (i = 0; i < 40; i++) printf "%d ", i == 7 ? 10000 : i % 2 }' | npy "$dir/added.npy" i8 '(40,)'
refused 'a mask of integers that may be added' "$dir/added.npy: has the integer 10000" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --mask "$dir/added.npy"
awk 'BEGIN { for (i = 0; i < 40; i++) printf "0 " }' | npy "$dir/zeros.npy" i4 '(40,)'
refused 'a mask of integers that are all 0' "$dir/zeros.npy: has only the integer 0" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --mask "$dir/zeros.npy"
i8=$dir/k-i8.npy u8=$dir/k-u8.npy
noise $((17 * 9)) 1 | npy "$dir/few.npy" f4 '(1, 17, 9)'
echo '1 1' | npy "$dir/pair.npy" f4 '(2,)'
echo '1 1 1 1 1 1 1 1 1' | npy "$dir/nine.npy" f4 '(9,)'
refused 'scales that do not divide the head dimension' \
    "--k-scale: $dir/pair.npy has shape (2,), which does not fit shape (1, 40, 9) of $i8" \
    sdpa --q "$q" --k "$i8" --v "$v" --k-scale "$dir/pair.npy" -o "$no"
refused 'scales of other keys' "--v-scale: $dir/k2.npy has shape (40, 9), which does not fit shape (1, 17, 9) of $dir/few.npy" \
    sdpa --q "$q" --k "$dir/few.npy" --v "$dir/few.npy" --kv-dtype i8 --v-scale "$dir/k2.npy" -o "$no"
refused 'scales with more axes' "--k-scale: $dir/k4.npy has shape (1, 1, 40, 9), which does not fit" \
    sdpa --q "$q" --k "$i8" --v "$v" --k-scale "$dir/k4.npy" -o "$no"
refused 'scales that are integers' "--k-scale: $dir/len.npy has element type int64 and shape (1,)" \
    sdpa --q "$q" --k "$i8" --v "$v" --k-scale "$dir/len.npy" -o "$no"
refused 'zero points of other columns than the scales' \
    "--k-zero: $dir/nine.npy has shape (9,), but $dir/ks.npy has shape (40, 3)" \
    sdpa --q "$q" --k "$u8" --v "$v" --k-scale "$dir/ks.npy" --k-zero "$dir/nine.npy" -o "$no"
refused 'scales of floats' "--k-scale: there are no scales for $k of element type float32" \
    sdpa --q "$q" --k "$k" --v "$v" --k-scale "$dir/nine.npy" -o "$no"
refused 'zero points of floats of 8 bits' "--v-zero: there are no zero points for $v of element type float8_e4m3" \
    sdpa --q "$q" --k "$k" --v "$v" --kv-dtype e4m3 --v-zero "$dir/nine.npy" -o "$no"
refused 'int8 as e5m2' "--kv-dtype: $i8 has element type int8, which is not converted to e5m2" \
    sdpa --q "$q" --k "$i8" --v "$v" --kv-dtype e5m2 -o "$no"
refused 'uint8 as f16' "--kv-dtype: $u8 has element type uint8, which is not converted to f16" \
    sdpa --q "$q" --k "$k" --v "$u8" --kv-dtype f16 -o "$no"
refused 'u8 without scales' "--kv-dtype: u8 needs --v-scale or --v-zero, as scales and zero points of $v are not found" \
    sdpa --q "$q" --k "$u8" --v "$v" --kv-dtype u8 -o "$no"
refused 'queries of int8' "$i8: has element type int8, but must have floats" sdpa --q "$i8" --k "$k" --v "$v" -o "$no"
refused 'float64 queries over int8 keys' 'sdpa: an element type' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --dtype f64 --kv-dtype i8
echo 0 4 | npy "$dir/cu2.npy" i4 '(1, 2)'
echo 0 9 | npy "$dir/cu3.npy" i4 '(2,)'
refused 'lengths that are no integers' "$dir/one.npy: has element type" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --kv-lens "$dir/one.npy"
refused 'intervals of floats' "$dir/one.npy: has element type" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --q-bounds "$dir/one.npy"
refused 'intervals of other queries' "$dir/cu2.npy: has 1 rows" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --q-bounds "$dir/cu2.npy"
refused 'sequences of three dimensions' "$k: has shape (1, 40, 9)" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --cu-seqlens-q "$dir/cu1.npy"
refused 'sequences that leave out queries' "$dir/cu3.npy: ends with 9" sdpa --q "$q" --k "$dir/k4.npy" --v "$dir/v4.npy" -o "$no" --cu-seqlens-q "$dir/cu3.npy"
refused 'sequences in steps' '--cache' sdpa --q "$q" --k "$dir/k4.npy" --v "$dir/v4.npy" -o "$no" --cu-seqlens-q "$dir/cu1.npy" --cache
refused 'integers for floats' "$dir/len.npy: has element type int64" softmax --in "$dir/len.npy" -o "$no"
echo 1e300 | npy "$dir/huge.npy" f8 '(1,)'
refused 'a number too large for float32' "$dir/huge.npy: 1e+300" softmax --in "$dir/huge.npy" -o "$no" --dtype f32
refused 'a layer with columns that are not heads' "$dir/wq.npy: 8 columns" layer --x "$dir/x.npy" --wq "$dir/wq.npy" \
    --wk "$dir/wk.npy" --wv "$dir/wv6.npy" --heads 3 -o "$no"
refused 'a layer with another d_model' "$dir/i3.npy: d_model is 3" layer --x "$dir/x.npy" --wq "$dir/i3.npy" --wk "$dir/i3.npy" \
    --wv "$dir/i3.npy" -o "$no"

# bad NAME WHAT: tests that file.npy is refused with the message WHAT.
bad() { refused "$1" "$dir/file.npy: $2" softmax --in "$dir/file.npy" -o "$no"; }
# lying NAME HEADER WHAT: the same for a file with this header and 24 bytes of data.
lying() {
    printf '\223NUMPY\001\000\166\000%-117s\n' "$2" >"$dir/file.npy"
    tail -c 24 "$dir/plain6.npy" >>"$dir/file.npy"
    bad "$1" "$3"
}
echo '1 2 3 4 5 6' | npy "$dir/plain6.npy" f4 '(2, 3)'
run softmax --in "$dir/plain6.npy" -o "$dir/wanted.npy"
for descr in f4 =f4 '|f4' f '<f' '=f' float32; do
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '$descr', 'fortran_order': False, 'shape': (2L, 3L), }" >"$dir/file.npy"
    tail -c 24 "$dir/plain6.npy" >>"$dir/file.npy"
    run softmax --in "$dir/file.npy" -o "$dir/got.npy" && cmp -s "$dir/wanted.npy" "$dir/got.npy"
    ok "element type '$descr' and shape (2L, 3L), as NumPy reads them"
done
head -c 148 "$dir/plain6.npy" >"$dir/file.npy"
bad 'a truncated file' 'the header describes (2, 3) of <f4 (24 bytes), but the file has 20 bytes'
head -c 100 "$dir/plain6.npy" >"$dir/file.npy"
bad 'a file cut in its header' 'the file ends inside its header'
head -c 9 "$dir/plain6.npy" >"$dir/file.npy"
bad 'a file cut before its header' 'the file ends inside its header'
: >"$dir/file.npy"
bad 'an empty file' 'the file is empty'
{ cat "$dir/plain6.npy" && echo; } >"$dir/file.npy"
bad 'a byte too many' 'the header describes (2, 3) of <f4 (24 bytes), but the file has 25 bytes'
{ printf '\223NUMPX' && tail -c +7 "$dir/plain6.npy"; } >"$dir/file.npy"
bad 'a bad magic' 'is not an .npy file (bad magic)'
{ printf '\223NUMPY\004' && tail -c +8 "$dir/plain6.npy"; } >"$dir/file.npy"
bad 'an unknown version' '.npy version 4.0'
{ printf '\223NUMPY\001\001' && tail -c +9 "$dir/plain6.npy"; } >"$dir/file.npy"
bad 'an unknown minor version' '.npy version 1.1'
lying 'a shape larger than the file' "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 8), }" \
    'the header describes (4, 8) of <f4 (128 bytes), but the file has 24 bytes'
lying 'a shape that overflows' "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }" \
    'the header describes more elements'
lying 'a shape that overflows beside a 0' "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0), }" \
    'the header describes more elements'
lying 'a dimension that overflows' "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }" 'bad header: the dimension'
lying 'a dimension with a leading zero' "{'descr': '<f4', 'fortran_order': False, 'shape': (02, 3), }" 'bad header: number with leading zeros'
lying 'a negative dimension' "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }" 'bad header: expected a dimension'
lying 'a dimension with two L' "{'descr': '<f4', 'fortran_order': False, 'shape': (2LL, 3), }" "bad header: expected ',' or ')'"
lying 'a dimension with an l' "{'descr': '<f4', 'fortran_order': False, 'shape': (2l, 3), }" "bad header: expected ',' or ')'"
lying 'an element type with two orders' "{'descr': '<<f4', 'fortran_order': False, 'shape': (2, 3), }" "element type '<<f4'"
lying 'a name with an order' "{'descr': '<float32', 'fortran_order': False, 'shape': (2, 3), }" "element type '<float32'"
lying 'no element type' "{'descr': '', 'fortran_order': False, 'shape': (2, 3), }" "element type ''"
lying 'an order alone' "{'descr': '<', 'fortran_order': False, 'shape': (2, 3), }" "element type '<'"
lying 'a shape that is no tuple' "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }" 'bad header: the shape'
lying 'nine dimensions' "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 2, 3), }" 'has more than 8'
lying 'an unknown element type' "{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }" "element type '<c8'"
lying 'records' "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }" 'holds records'
lying 'a key twice' "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" "bad header: 'descr' appears twice"
lying 'a key missing' "{'descr': '<f4', 'shape': (2, 3), }" "bad header: 'fortran_order' is missing"
lying 'an unknown key' "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}" "bad header: unknown key 'x'"
lying 'something after the dictionary' "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x" 'bad header: unexpected data after the dictionary'

# ------------------------------------------------------------- whole or none --

mkdir "$dir/folder"
refused 'a directory as output' "$dir/folder: is a directory" matmul --a "$dir/i3.npy" --b "$dir/i3.npy" -o "$dir/folder"
refused 'a folder that is not there' "$dir/none/no.npy: " matmul --a "$dir/i3.npy" --b "$dir/i3.npy" -o "$dir/none/no.npy"
refused 'one bad output of two' "$dir/folder: is a directory" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --weights "$dir/folder"
refused 'one name for two outputs' "$no: is used for two outputs" sdpa --q "$q" --k "$k" --v "$v" -o "$no" --weights "$no"
closed=$dir/folder
if [ "$(id -u)" -eq 0 ]; then closed=/proc/self; fi # where not even root can create files
chmod a-w "$dir/folder"
if [ -d "$closed" ]; then
    refused 'a folder that cannot be written to' "$closed/no.npy: cannot be written" matmul --a "$dir/i3.npy" --b "$dir/i3.npy" \
        -o "$closed/no.npy"
else
    skip 'refused: a folder that cannot be written to' 'root may write anywhere'
fi
noise 16384 9 | npy "$dir/large.npy" f4 '(128, 128)'
echo before >"$dir/kept.npy"
(
    trap '' XFSZ
    ulimit -f 64 || exit 1
    run matmul --a "$dir/large.npy" --b "$dir/large.npy" -o "$no" --dtype f64
    [ $? -eq 2 ] || exit 1
    run matmul --a "$dir/large.npy" --b "$dir/large.npy" -o "$dir/kept.npy" --dtype f64
    [ $? -eq 2 ]
) 2>/dev/null && clean && [ "$(cat "$dir/kept.npy")" = before ] && has "$(cat "$dir/stderr")" "attn: $dir/kept.npy: cannot be written"
ok 'a full disk leaves no file, and an old file as it was'

# ------------------------------------------------------- what is written to --

product() { run matmul --a "$dir/i3.npy" --b "$dir/i3.npy" "$@"; }
product -o "$dir/wanted.npy"
product -o - >"$dir/got" && cmp -s "$dir/wanted.npy" "$dir/got"
ok '-o -: standard output'
# With what was there before, and what comes later.
appends() { # NAME OF STANDARD OUTPUT
    echo before >"$dir/got"
    { product -o "$1" && echo after; } >>"$dir/got"
    { echo before && cat "$dir/wanted.npy" && echo after; } | cmp -s - "$dir/got" && clean
}
for name in - /dev/stdout /dev/fd/1 /proc/self/fd/1; do
    if [ $name = - ] || [ -e $name ]; then
        appends $name
        ok "-o $name >>file: is appended"
    else
        skip "-o $name >>file" 'is not there'
    fi
done
ln -s /dev/stdout "$dir/link"
appends "$dir/link"
ok 'a link to /dev/stdout: the same'
if [ -d /dev/fd ]; then
    echo before >"$dir/got"
    product -o /dev/fd/7 7>>"$dir/got" && { echo before && cat "$dir/wanted.npy"; } | cmp -s - "$dir/got"
    ok '-o /dev/fd/7'
fi
mkfifo "$dir/pipe"
cat "$dir/pipe" >"$dir/got" &
reader=$!
{ product -o "$dir/pipe" || kill $reader; } && wait $reader && [ -p "$dir/pipe" ] && cmp -s "$dir/wanted.npy" "$dir/got"
ok 'a pipe is written to, and stays a pipe'
null=/dev/null # root makes one of its own, as it could lose that
if [ "$(id -u)" -eq 0 ]; then null=$dir/null && mknod "$null" c 1 3 2>/dev/null; fi
if [ -c "$null" ]; then
    run sdpa --q "$q" --k "$k" --v "$v" -o "$null" --weights "$null" && [ -c "$null" ]
    ok 'a device is written to, twice, and stays a device'
else
    skip 'a device is written to' 'there is none to lose'
fi
if [ -c /dev/full ] && [ "$(id -u)" -ne 0 ]; then
    refused 'a full device' '/dev/full: cannot be written' sdpa --q "$q" --k "$k" --v "$v" -o "$no" --weights /dev/full
fi
product -o - >&-
[ $? -eq 2 ] && has "$(cat "$dir/stderr")" 'attn: -: cannot be written'
ok 'refused: a standard output that is closed'
(
    umask 022
    for mode in 600 640 444 755; do
        echo before >"$dir/mode.npy"
        chmod $mode "$dir/mode.npy"
        [ $mode != 444 ] || [ "$(id -u)" -eq 0 ] || continue
        product -o "$dir/mode.npy" && cmp -s "$dir/wanted.npy" "$dir/mode.npy" || exit 1
        [ "$(find "$dir/mode.npy" -perm $mode)" ] || exit 1
        rm -f "$dir/mode.npy"
    done
    product -o "$dir/mode.npy" && [ "$(find "$dir/mode.npy" -perm 644)" ]
)
ok 'a file that is replaced keeps its mode, a new one has that of the umask'
head -c 5000 /dev/zero >"$dir/got"
ln "$dir/got" "$dir/other"
product -o "$dir/got" && cmp -s "$dir/wanted.npy" "$dir/got" && cmp -s "$dir/wanted.npy" "$dir/other" && clean
ok 'of a file with two names both are the new one'
ln -s got "$dir/to-got"
echo before >"$dir/got"
product -o "$dir/to-got" && [ -h "$dir/to-got" ] && cmp -s "$dir/wanted.npy" "$dir/got"
ok 'a link to a file stays a link'
mkdir "$dir/sub"
ln -s ../sub/new "$dir/sub/to-new"
ln -s sub/to-new "$dir/to-new"
product -o "$dir/to-new" && [ -h "$dir/to-new" ] && [ -h "$dir/sub/to-new" ] && cmp -s "$dir/wanted.npy" "$dir/sub/new"
ok 'a link to what is not there: the file appears there'
ln -s loop "$dir/loop"
refused 'a link to itself' "$dir/loop: " matmul --a "$dir/i3.npy" --b "$dir/i3.npy" -o "$dir/loop"
refused 'two names of one file' 'is used for two outputs' sdpa --q "$q" --k "$k" --v "$v" -o "$dir/other" --weights "$dir/got"

# A signal while it waits for a reader: the other output has been written, under another name. Without the shell's own
# trap meanwhile: a subshell that is killed before it has dropped it would remove $dir.
trap - TERM
for signal in TERM HUP INT; do
    unignored=
    if [ $signal != TERM ]; then # nohup ignores HUP, and a shell has its background commands ignore INT
        unignored="env --default-signal=$signal"
        if ! $unignored true; then
            skip "killed by $signal" "env cannot have commands not ignore it"
            continue
        fi
    fi
    # shellcheck disable=SC2086 # an emulator and its arguments
    $unignored $attn sdpa --q "$q" --k "$k" --v "$v" -o "$no" --weights "$dir/pipe" 2>"$dir/stderr" &
    child=$!
    for wait in 1 2 3 4 5 6 7 8 9 10; do
        [ -z "$(find "$dir" -name '.attn*')" ] || break
        sleep 0.$wait
    done
    found=$(find "$dir" -name '.attn*')
    kill -$signal $child
    (sleep 5 && kill -KILL $child) &
    watch=$!
    wait $child
    [ $? -gt 128 ] && [ "$found" ] && clean
    ok "killed by $signal: no file is left"
    kill $watch
done 2>/dev/null
trap 'exit 99' TERM
(
    ulimit -f 64 || exit 1
    run matmul --a "$dir/large.npy" --b "$dir/large.npy" -o "$no" --dtype f64
    [ $? -eq 2 ]
) && clean && has "$(cat "$dir/stderr")" 'cannot be written'
ok 'a file that grows beyond its limit: an error, no file is left'
head -c 100 /dev/zero >"$dir/got"
(
    ulimit -f 64 || exit 1
    run matmul --a "$dir/large.npy" --b "$dir/large.npy" -o "$dir/got" --dtype f64
    [ $? -eq 2 ]
) && [ "$(wc -c <"$dir/other")" -eq 100 ] && cmp -s "$dir/got" "$dir/other"
ok '... and a file of two names is as it was'

# ------------------------------------------------------- sentence and the rest --

run sentence 'The cat sat on the mat' >"$dir/text" && [ "$(grep -c '[.][0-9][0-9][0-9]' "$dir/text")" -eq 18 ] &&
    grep -q '^ *The  *cat  *sat  *on  *the  *mat$' "$dir/text" && grep -q '^  mat  *->  [a-zA-Z]* (0[.][0-9]*)$' "$dir/text"
ok 'sentence: a table of weights, the most attended words, the output'
awk 'NF == 7 && $2 ~ /^[01][.][0-9]+$/ { n++; s = 0; for (i = 2; i <= 7; i++) s += $i; if (s < .995 || s > 1.005) bad = 1 }
    END { exit !(n == 6 && !bad) }' "$dir/text"
ok 'sentence: the rows of the table sum to 1'
[ "$(grep '^  The ' "$dir/text" | tr T t)" = "$(grep '^  the ' "$dir/text")" ]
ok 'sentence: a word in capitals has the embedding of the word in small letters'
run sentence The cat 'sat on' the mat >"$dir/text2" && cmp -s "$dir/text" "$dir/text2"
ok 'sentence: words without quotes'
run sentence 'The cat sat on the mat' --seed 2 >"$dir/text2" && ! cmp -s "$dir/text" "$dir/text2"
ok 'sentence: --seed changes the numbers'
run sentence 'The cat sat on the mat' --dim 6 --heads 3 >"$dir/text2" && grep -q 'head 2' "$dir/text2" && grep -q '(3, 6, 2)' "$dir/text2"
ok 'sentence: --dim and --heads'
run sentence -- --help | grep -q '^  --help  *1[.]000$'
ok 'sentence: one word, after --'
run sentence "$(printf 'internationalization \303\251t\303\251\303\251t\303\251\303\251t\303\251\303\251t\303\251 \377\033[1m')" >"$dir/text2" &&
    grep -q 'internat[.][.]' "$dir/text2" && grep -q "$(printf '\303\251t\303\251\303\251t\303\251\303\251t[.][.]')" "$dir/text2" &&
    grep -q '??\[1m' "$dir/text2" && ! grep -q "$(printf '\033')" "$dir/text2"
ok 'sentence: long words are cut between characters, control characters not printed'
run sentence "$(awk 'BEGIN { for (i = 0; i < 300; i++) printf "w%d ", i }')" >"$dir/text2" && grep -q 'of 300 words' "$dir/text2" &&
    awk 'length($0) > 80 { exit 1 }' "$dir/text2"
ok 'sentence: many words fit lines of 80'
words() { run sentence 'The cat sat on the mat' "$@" --arrays "$dir/s"; }
words --heads 2 >"$dir/text" && run layer --x "$dir/s-X.npy" --wq "$dir/s-Wq.npy" --wk "$dir/s-Wk.npy" \
    --wv "$dir/s-Wv.npy" --heads 2 -o "$dir/out.npy" --weights "$dir/w.npy" &&
    cmp -s "$dir/out.npy" "$dir/s-output.npy" && cmp -s "$dir/w.npy" "$dir/s-weights.npy"
ok 'sentence --arrays: those of a layer'
words --heads 2 --wq "$dir/s-Wq.npy" --wk "$dir/s-Wk.npy" --wv "$dir/s-Wv.npy" >"$dir/text2" &&
    cmp -s "$dir/text" "$dir/text2" && words --heads 2 --wk "$dir/s-Wq.npy" >"$dir/text2" &&
    ! cmp -s "$dir/text" "$dir/text2" && cmp -s "$dir/s-Wk.npy" "$dir/s-Wq.npy"
ok 'sentence: projections from files'
words --causal --window 2,0 --temperature 0.5 >"$dir/text" && run matmul --a "$dir/s-X.npy" --b "$dir/s-Wk.npy" \
    -o "$dir/out.npy" && cmp -s "$dir/out.npy" "$dir/s-K.npy" &&
    run sdpa --q "$dir/s-Q.npy" --k "$dir/s-K.npy" --v "$dir/s-V.npy" --causal upper-left --window 2,0 \
        --scale "$(awk 'BEGIN { printf "%.17g", 1 / (0.5 * sqrt(8)) }')" -o "$dir/out.npy" --weights "$dir/w.npy" \
        --scores "$dir/scores.npy" --stage biased && cmp -s "$dir/out.npy" "$dir/s-output.npy" &&
    cmp -s "$dir/w.npy" "$dir/s-weights.npy" && cmp -s "$dir/scores.npy" "$dir/s-scores.npy"
ok 'sentence: --causal, --window and --temperature are those of sdpa'
noise 24 5 | npy "$dir/wide.npy" f8 '(4, 6)'
noise 12 5 | npy "$dir/narrow.npy" f4 '(4, 3)'
words --heads 3 --wk "$dir/wide.npy" --wv "$dir/narrow.npy" >"$dir/text" &&
    has "$(header "$dir/s-Wq.npy")" '(4, 6)' && has "$(header "$dir/s-Q.npy")" '(3, 6, 2)' &&
    has "$(header "$dir/s-output.npy")" '(6, 3)' && grep -q '^  Q, K  *(3, 6, 2) ' "$dir/text"
ok 'sentence: a file says how many columns there are'
refused 'a projection of three dimensions' 's-Q.npy: has shape (3, 6, 2), but must have shape (dim, columns)' sentence a \
    --wq "$dir/s-Q.npy"
refused 'projections of two dimensions' "wide.npy: the number of rows is 4 (shape (4, 6)), but 2 in $dir/i2.npy" sentence a \
    --wq "$dir/i2.npy" --wv "$dir/wide.npy"
refused 'a dimension that is not that of the file' 'wide.npy: has 4 rows, but --dim is 8' sentence a \
    --wq "$dir/wide.npy" --dim 8
refused 'columns that heads do not share' 'narrow.npy: 3 columns cannot be split into 2 heads' sentence a --heads 2 \
    --wv "$dir/narrow.npy"
refused 'a temperature of 0' '--temperature: must be above 0' sentence a --temperature 0 --arrays "$no"
refused 'a sentence without words' 'at least one word' sentence '  '
refused 'heads that do not divide the dimension' '--heads' sentence hello --heads 3
refused 'no dimension' '--dim' sentence hello --dim 0
refused 'too many words' '4096 words' sentence "$(awk 'BEGIN { for (i = 0; i < 4097; i++) printf "w " }')"

[ "$(run --version)" = "attn $(awk '/^attention.h/ { print $2 }' "$dir/info")" ]
ok '--version'
run --help >"$dir/text" && for command in sdpa layer softmax matmul sentence heatmap info; do
    grep -q "^  $command " "$dir/text" && run $command --help | grep -q "^attn $command - " || exit 1
done
ok '--help of everything'
if [ -c /dev/full ]; then
    run info >/dev/full
    [ $? -eq 2 ] && [ "$(wc -l <"$dir/stderr")" -eq 1 ]
    ok 'standard output that cannot be written'
else
    skip 'standard output that cannot be written' 'no /dev/full'
fi

plan
