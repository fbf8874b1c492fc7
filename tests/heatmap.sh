#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# heatmap.sh - pictures of attention weights show what the weights are: each weight in its place and
# colour, labels, several heads, lines, text, nothing hidden by size, and what is no weight marked.
# tests/picture.py reads SVG and PNG. Prints TAP.

# shellcheck source=tests/npy.sh
. "${srcdir:-.}/tests/npy.sh"
if python3 -c 'import xml.dom.minidom, zlib' 2>/dev/null; then python=python3; else python=; fi
picture() { python3 "$top/tests/picture.py" "$@" 2>>"$dir/log"; }
# looked NAME: as ok, for what only picture.py can see
looked() {
    looked_status=$?
    if [ "$python" ]; then
        (exit $looked_status)
        ok "$1"
    else
        skip "$1" 'no python3'
    fi
}
# numbered COUNT WORD: WORD0 WORD1 ...
numbered() { awk -v n="$1" -v word="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s%d ", word, i }'; }
draw() { run heatmap --weights "$@"; }

# ---------------------------------------------------------------------- map --

# Rows sum to 1; every eighth of the largest weight, 0.5, is there.
{
    echo '0.5 0.0625 0.0625 0.125 0.125 0.125'
    echo '0.1875 0.1875 0.1875 0.1875 0.25 0'
    echo '0.3125 0.3125 0.375 0 0 0'
    echo '0.4375 0.4375 0.125 0 0 0'
    echo '0.2 0.2 0.2 0.2 0.1 0.1'
    echo '0.01 0.02 0.03 0.04 0.45 0.45'
} >"$dir/numbers"
npy "$dir/w.npy" f4 '(6, 6)' <"$dir/numbers"
words='The cat sat on the mat'
draw "$dir/w.npy" --tokens "$words" -o "$dir/w.svg"
ok 'a map'
picture xml "$dir/w.svg" >"$dir/elements" && has "$(cat "$dir/elements")" 'desc:1' &&
    has "$(cat "$dir/elements")" 'svg:1'
looked 'is well-formed XML, with a description'
grep -q '^<svg [^>]*role="img"' "$dir/w.svg" && grep -q '^<title>Attention weights</title>$' "$dir/w.svg" &&
    grep -q '<desc>6 queries, 6 keys, 1 head. The largest weight, 0.5, is that of query The for key The</desc>' \
        "$dir/w.svg"
ok 'is an image with a title that says what the largest weight is'
[ "$(grep -c '<rect .*><title>.* → .*: .*</title></rect>' "$dir/w.svg")" -eq 36 ] &&
    grep -q '<title>mat → on: 0.04</title>' "$dir/w.svg" && grep -q '<title>The → cat: 0.0625</title>' "$dir/w.svg"
ok 'a tip for each weight: query, key, weight'
picture map "$dir/w.svg"
looked 'more weight is darker, by equal steps of OKLab lightness'
picture cells "$dir/w.svg" | awk 'NR == 1 { x = $1; y = $2; first = $3 } { n += $3 == first }
    $4 == "mat" && $6 == "on:" { fine = $1 > x && $2 > y && $1 - x < $2 - y } END { exit !(n == 1 && fine) }'
looked 'the only cell of the darkest colour is that of the largest weight; keys go right, queries down'
# Tips have four digits: weights are off by at most 5e-5 each.
picture cells "$dir/w.svg" |
    awk '{ sum[$2] += $NF }
        END { for (y in sum) { n++; d = sum[y] - 1; if (d > 3e-4 || d < -3e-4) bad = 1 } exit !(n == 6 && !bad) }'
looked 'rows of tips sum to 1'
[ "$(grep -c '>0.45</text>' "$dir/w.svg")" -eq 2 ] && [ "$(grep -c '>0.00</text>' "$dir/w.svg")" -eq 0 ]
ok 'weights are written into cells, but for those that are 0'
draw "$dir/w.npy" --tokens "$words" --dark -o "$dir/dark.svg" && ! cmp -s "$dir/w.svg" "$dir/dark.svg" &&
    has "$(grep -m 1 '<rect' "$dir/dark.svg")" 'fill="#0d1117"' &&
        has "$(grep -m 1 '<rect' "$dir/w.svg")" 'fill="#ffffff"' &&
    grep -q 'fill="#fbf9ea"><title>The → The: 0.5<' "$dir/dark.svg" &&
        grep -q 'fill="#241244"><title>cat → mat: 0<' "$dir/dark.svg"
ok '--dark'
npy "$dir/w8.npy" f8 '(6, 6)' <"$dir/numbers"
for i in 1 2 3 4 5 6; do cut -d ' ' -f $i "$dir/numbers"; done | npy "$dir/fortran.npy" f4 '(6, 6)' big True
sed '5,6s/.*/0.5 0.25 0.25 0 0 0/' "$dir/numbers" >"$dir/exact" # in float16, too
npy "$dir/e2.npy" f2 '(6, 6)' <"$dir/exact"
npy "$dir/e4.npy" f4 '(6, 6)' <"$dir/exact"
for name in w w8 fortran e2 e4; do draw "$dir/$name.npy" -o "$dir/same-$name.svg" || break; done &&
    cmp "$dir/same-w.svg" "$dir/same-fortran.svg" >"$dir/log" && cmp "$dir/same-w.svg" "$dir/same-w8.svg" >"$dir/log" &&
    cmp "$dir/same-e2.svg" "$dir/same-e4.svg" >"$dir/log"
ok 'the element type and the order of the elements do not matter'
draw "$dir/w.npy" --tokens "$words" -o - >"$dir/got" && cmp -s "$dir/w.svg" "$dir/got"
ok '-o -: an SVG on standard output'

# ------------------------------------------------------------------- labels --

hebrew=$(printf '\327\251\327\234\327\225\327\235')
wide=$(printf '\346\227\245\346\234\254\350\252\236')
mark=$(printf 'e\314\201')
odd=$(printf 'a\033[1m\377\357\277\276b\342\200\256')
long=$mark$mark$mark$mark$mark$mark$mark$mark$mark$mark$mark$mark$mark
draw "$dir/w.npy" \
        --tokens "<b>&\"' internationalization $hebrew $odd $wide$wide$wide $long$mark$mark" \
    -o "$dir/labels.svg"
picture xml "$dir/labels.svg" >"$dir/elements"
looked 'labels: still well-formed'
grep -q ">&lt;b&gt;&amp;\"'</text>" "$dir/labels.svg" && ! grep -q '<b>' "$dir/labels.svg"
ok 'labels: what is special in XML is escaped'
grep -q ">$hebrew</text>" "$dir/labels.svg"
ok 'labels: words from right to left stay as they are'
replaced=$(printf '\357\277\275')
grep -q ">a$replaced\[1m$replaced${replaced}" "$dir/labels.svg" && ! grep -q "$(printf '\033')" "$dir/labels.svg" &&
    ! grep -q "$(printf '\342\200\256')" "$dir/labels.svg" && ! grep -q "$(printf '\377')" "$dir/labels.svg"
ok 'labels: control characters and bytes that are none become U+FFFD'
grep -q '>international…</text>' "$dir/labels.svg" && grep -q ">$wide$wide…</text>" "$dir/labels.svg" &&
    grep -q ">$long…</text>" "$dir/labels.svg"
ok 'labels: long words are cut to 14 columns, of which some letters take two, marks none'
grep -q '<title>internationalization → internationalization: ' "$dir/labels.svg"
ok 'labels: tips have more of them'
six='123456 123456 123456 123456 123456 123456' # 42 of the 48 pixels of a column
draw "$dir/w.npy" --tokens "$six" -o "$dir/got" && ! grep -q rotate "$dir/got" &&
    draw "$dir/w.npy" --tokens "$six" --keys "1$six" -o "$dir/got" &&
    [ "$(grep -c 'rotate(-90).*>1*23456</text>' "$dir/got")" -eq 6 ]
ok 'labels: those of columns are turned where they do not fit'
draw "$dir/w.npy" --tokens "$words" --keys 'a b c d e f' -o "$dir/keys.svg" &&
    grep -q '<title>The → b: 0.0625</title>' "$dir/keys.svg"
ok 'labels: --keys'
draw "$dir/w.npy" -o "$dir/got" && grep -q '<title>0 → 1: 0.0625</title>' "$dir/got"
ok 'labels: positions from 0'

# -------------------------------------------------------- what is no weight --

# the fourth row is empty; a NaN replaces the first weight
echo '0 1.5 -0.25 0.5  0.25 0.25 0.25 0.25  1.0001 0 0 0  0 0 0 0' | npy "$dir/odd.npy" f4 '(4, 4)'
printf '\000\000\300\177' | dd of="$dir/odd.npy" bs=1 seek=128 conv=notrunc 2>/dev/null
draw "$dir/odd.npy" -o "$dir/odd.svg" && grep -q 'fill="#e0218a"><title>0 → 0: NaN<' "$dir/odd.svg" &&
    [ "$(grep -c 'fill="#f28c00"><title>0 → [12]: ' "$dir/odd.svg")" -eq 2 ] &&
        [ "$(grep -c 'fill="#c4c4c4"><title>3 → .: 0<' "$dir/odd.svg")" -eq 4 ]
ok 'NaN, weights outside of 0 to 1 and rows without a visible key have colours'
grep -q '>NaN: 1</text>' "$dir/odd.svg" && grep -q '>outside of 0 to 1: 2</text>' "$dir/odd.svg" &&
    grep -q '>rows that see no key: 1</text>' "$dir/odd.svg" && ! grep -q 'NaN\|outside\|no key' "$dir/w.svg"
ok '... which are explained where they are'
has "$(grep '2 → 0' "$dir/odd.svg")" '#241244'
ok 'a weight of 1 that was rounded up is the largest'
draw "$dir/odd.npy" >"$dir/text" && grep -q '^  0  *?[? ]*!' "$dir/text" && grep -q '^  3  *-[- ]*-$' "$dir/text"
ok '... as text: ?, ! and -'

# ------------------------------------------------------------------- sizes --

if [ "$python" ]; then
    picture spike 512 512 300 77 "$dir/large.npy"
    draw "$dir/large.npy" -o "$dir/large.svg" && [ "$(picture darkest "$dir/large.svg")" = '1 300 77' ]
    ok '512 x 512: a single large weight is one dark cell, where it belongs, without a gap'
    draw "$dir/large.npy" >"$dir/text" && [ "$(grep -v '\[' "$dir/text" | grep -c '#')" -eq 1 ]
    ok '... and a character of the text'
    draw "$dir/large.npy" --view lines -o "$dir/got" && [ "$(grep -c '<path .*296… → 72…: 1<' "$dir/got")" -eq 1 ] &&
        grep -q 'the largest of 8 x 8' "$dir/got"
    ok '... and a line'
    # x, y and text of labels, without those below the picture
    sed -n 's/^<text x="\(.*\)" y="\(.*\)" text-anchor="[me].*>\(.*\)<\/text>/\1 \2 \3/p' \
        "$dir/large.svg" >"$dir/labels"
    awk 'NR > 1 && $1 == x && $2 - y < 12 { bad = 1 } NR > 1 && $2 == y && $1 - x < 7 * (length($3) + 1) { bad = 1 }
        { x = $1; y = $2; seen = seen " " $3 }
        END { exit !(!bad && seen ~ / 460 480 500 0 50 100 150 .* 450 500$/) }' "$dir/labels"
    ok '... labels of round positions, so many as do not overlap'
    picture spike 128 128 100 77 "$dir/joined.npy"
    draw "$dir/joined.npy" --tokens "$(numbered 128 w)" \
            --view lines -o "$dir/got" &&
        grep -q '<path .*w100… → w76…: 1<' "$dir/got" && grep -q '>w76</text>' "$dir/got" &&
            ! grep -q '>w77<' "$dir/got"
    ok 'neighbours that are joined have the label of the first'
    picture spike 512 64 0 0 "$dir/flat.npy"
    sed 's/(512, 64)/(8,64,64)/' "$dir/flat.npy" >"$dir/eight.npy"
    draw "$dir/eight.npy" --view lines -o "$dir/got" && grep -q 'the largest of 2 x 2 weights' "$dir/got"
    ok '... of lines also where there would be more than 8192 in all'
    picture spike 1000 1600 999 1599 "$dir/larger.npy"
    draw "$dir/larger.npy" -o "$dir/larger.svg" && [ "$(picture darkest "$dir/larger.svg")" = '1 499 533' ] &&
        grep -q 'the largest of 2 x 3 weights' "$dir/larger.svg"
    ok '1000 x 1600: it is seen among those that share its cell'
    picture noise 512 512 "$dir/noise.npy"
    for view in map lines; do
        draw "$dir/noise.npy" --view $view -o "$dir/noise.svg" && [ "$(wc -c <"$dir/noise.svg")" -lt 2000000 ]
        ok "512 x 512 of noise, $view: below 2 MB"
    done
    picture noise 64 64 "$dir/noise.npy"
    draw "$dir/noise.npy" \
            --tokens "$(numbered 64 internationalization)" -o "$dir/noise.svg" &&
        [ "$(grep -c '</title></rect>' "$dir/noise.svg")" -eq 4096 ] && [ "$(wc -c <"$dir/noise.svg")" -lt 2000000 ]
    ok '64 x 64, as many cells as have tips: below 2 MB'
else
    skip '512 x 512: a single large weight stays visible' 'no python3'
fi

# --------------------------------------------------------------------- PNG --

no_png=$(no_png)
if [ -z "$no_png" ]; then
    draw "$dir/w.npy" --tokens "$words" -o "$dir/w.png" &&
        [ "$(head -c 8 "$dir/w.png" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ]
    ok 'a PNG has its signature'
    [ "$(picture size "$dir/w.png")" = "$(picture size "$dir/w.svg" | awk '{ print 2 * $1, 2 * $2 }')" ]
    looked 'a PNG decodes, and is twice the size of the SVG'
    picture cells "$dir/w.svg" | awk 'NR % 7 == 1' >"$dir/some"
    while read -r x y colour rest; do
        [ "$(picture pixel "$dir/w.png" $((2 * x + 2)) $((2 * y + 2)))" = "$colour" ] ||
            echo "$x $y: not $colour ($rest)"
    done <"$dir/some" >"$dir/log"
    [ "$(wc -l <"$dir/some")" -eq 6 ] && [ ! -s "$dir/log" ]
    looked 'cells of the PNG have the colours of the SVG'
else
    skip 'PNG' "$no_png"
    refused '... is refused' 'no.png: PNG needs libpng' sentence "$words" --svg "$dir/no.svg" --png "$dir/no.png"
fi
if [ "$python" ] && [ -z "$no_png" ]; then
    draw "$dir/large.npy" -o "$dir/large.png" && picture size "$dir/large.png" >"$dir/log"
    ok '512 x 512: a PNG decodes'
    draw "$dir/noise.npy" --view lines -o "$dir/noise.png" && picture size "$dir/noise.png" >"$dir/log"
    ok 'lines: a PNG decodes'
fi

# ------------------------------------------------------------ heads, batches --

{ cat "$dir/numbers" && sed '1!G;h;$!d' "$dir/numbers"; } >"$dir/two"
npy "$dir/heads.npy" f4 '(2, 6, 6)' <"$dir/two"
{ cat "$dir/two" && tr '5' '4' <"$dir/two"; } | npy "$dir/batches.npy" f4 '(2, 2, 6, 6)'
draw "$dir/heads.npy" -o "$dir/heads.svg" && grep -q '>head 0</text>' "$dir/heads.svg" &&
    grep -q '>head 1</text>' "$dir/heads.svg" &&
    ! grep -q '>head 2' "$dir/heads.svg" && [ "$(grep -c '</title></rect>' "$dir/heads.svg")" -eq 72 ]
ok 'heads side by side'
tips() { sed -n 's/.*<title>\(.* → .*\)<\/title>.*/\1/p' "$1"; }
draw "$dir/heads.npy" --head 1 -o "$dir/one.svg" && tips "$dir/heads.svg" | tail -n 36 >"$dir/wanted" &&
    tips "$dir/one.svg" | diff "$dir/wanted" - >"$dir/log" &&
    grep -q '<title>Attention weights, head 1</title>' "$dir/one.svg"
ok '--head'
draw "$dir/batches.npy" -o "$dir/got" && tips "$dir/heads.svg" >"$dir/wanted" && tips "$dir/got" |
    diff "$dir/wanted" - >"$dir/log" &&
    grep -q '<title>Attention weights, batch 0</title>' "$dir/got" &&
        draw "$dir/batches.npy" --batch 1 -o "$dir/got" && ! tips "$dir/got" | diff "$dir/wanted" - >/dev/null
ok 'of batches the first, or --batch'

# ------------------------------------------------------------------- lines --

draw "$dir/w.npy" --tokens "$words" --view lines -o "$dir/lines.svg" && picture xml "$dir/lines.svg" >"$dir/elements"
looked 'lines: well-formed XML'
# of 36 weights, 7 are 0 and one is below a thirtieth of 0.5
[ "$(grep -c '<path .*</title></path>' "$dir/lines.svg")" -eq 28 ] && ! grep -q ': 0\.01<' "$dir/lines.svg" &&
    grep -q ': 0\.02<' "$dir/lines.svg"
ok 'lines: one for each weight of a thirtieth of the largest or more'
grep '</title></path>' "$dir/lines.svg" |
    sed 's/.*stroke-width="\([^"]*\)" stroke-opacity="\([^"]*\)".*: \([^<]*\)<.*/\3 \1 \2/' | sort -g |
    awk '$2 < width || $3 < opacity { bad = 1 } NR == 1 { thin = $2; faint = $3 } { width = $2; opacity = $3 }
        END { exit !(NR == 28 && !bad && width > 2 * thin && opacity > 2 * faint) }'
ok 'lines: more weight is wider and stronger'

# -------------------------------------------------------------------- text --

draw "$dir/w.npy" --tokens "$words" >"$dir/text" && grep -q '^ *The  cat  sat  on   the  mat *$' "$dir/text" &&
    grep -q '^  The ####' "$dir/text" && grep -q '^  0 \[ [.]:\*#\] 0.5$' "$dir/text" &&
        ! grep -q "$(printf '[\033\342]')" "$dir/text"
ok 'text: ASCII where the locale is C'
LC_ALL='' LC_CTYPE='' LANG=fr_FR.UTF-8 draw "$dir/w.npy" --tokens "$words" >"$dir/text" &&
    grep -q '^  The ████' "$dir/text" && ! grep -q "$(printf '\033')" "$dir/text"
ok 'text: blocks where it has UTF-8'
draw "$dir/w.npy" -o "$dir/got" --text >"$dir/text" && [ -s "$dir/got" ] && grep -q '^  0 ####' "$dir/text"
ok 'text: --text besides a file'
awk 'BEGIN { for (i = 0; i < 300; i++) print i / 299 }' | npy "$dir/row.npy" f4 '(1, 300)'
draw "$dir/row.npy" >"$dir/text" && awk 'length($0) > 80 { exit 1 }' "$dir/text" && grep -q '^  0 .*#$' "$dir/text"
ok 'text: fits lines of 80'
if [ "$python" ] && [ -z "${RUN-}" ] && python3 -c 'import pty' 2>/dev/null; then
    TERM=xterm picture terminal "${ATTN:-./attn}" heatmap --weights "$dir/w.npy" >"$dir/text" &&
        grep -q "$(printf '\033\\[48;2;36;18;68m.*0.50')" "$dir/text"
    ok 'text: colours and numbers on a terminal'
    TERM=xterm NO_COLOR=1 picture terminal "${ATTN:-./attn}" heatmap --weights "$dir/w.npy" >"$dir/text" &&
        grep -q '####' "$dir/text" && ! grep -q "$(printf '\033')" "$dir/text"
    ok 'text: none if NO_COLOR is set'
else
    skip 'text: colours on a terminal' 'no python3, or an emulator'
fi

# ------------------------------------------------------------ other commands --

noise 24 3 | npy "$dir/x.npy" f4 '(4, 6)'
noise 36 4 | npy "$dir/p.npy" f4 '(6, 6)'
for form in svg png; do
    if [ $form = png ] && [ -n "$no_png" ]; then
        skip 'layer --png' "$no_png"
        continue
    fi
    run layer --x "$dir/x.npy" --wq "$dir/p.npy" --wk "$dir/p.npy" --wv "$dir/p.npy" --heads 2 -o "$dir/o.npy" \
            --weights "$dir/lw.npy" --$form "$dir/l.$form" --tokens 'a b c d' &&
        draw "$dir/lw.npy" --tokens 'a b c d' -o "$dir/got.$form" &&
        cmp "$dir/l.$form" "$dir/got.$form" >"$dir/log"
    ok "layer --$form: the picture of its weights"
done
run layer --x "$dir/x.npy" --wq "$dir/p.npy" --wk "$dir/p.npy" --wv "$dir/p.npy" --heads 2 -o "$dir/o2.npy" \
        --svg "$dir/l2.svg" --tokens 'a b c d' && cmp "$dir/l.svg" "$dir/l2.svg" >"$dir/log" &&
    cmp "$dir/o.npy" "$dir/o2.npy" >"$dir/log"
ok '... without --weights, too'
for extra in '' '--paged 3 --cache' '--dtype f64'; do
    # shellcheck disable=SC2086 # options
    run sdpa --q "$dir/x.npy" --k "$dir/x.npy" --v "$dir/x.npy" --causal upper-left $extra -o "$dir/o.npy" \
            --weights "$dir/sw.npy" --svg "$dir/s.svg" --view lines &&
        draw "$dir/sw.npy" --view lines -o "$dir/got.svg" && cmp "$dir/s.svg" "$dir/got.svg" >"$dir/log" &&
        run sdpa --q "$dir/x.npy" --k "$dir/x.npy" --v "$dir/x.npy" --causal upper-left $extra -o "$dir/o2.npy" \
                --svg "$dir/s2.svg" --view lines && cmp "$dir/s.svg" "$dir/s2.svg" >"$dir/log" &&
            cmp "$dir/o.npy" "$dir/o2.npy" >"$dir/log"
    ok "sdpa --svg $extra"
done
run sentence "$words" --svg "$dir/sentence.svg" >"$dir/text" && run sentence "$words" >"$dir/wanted" &&
    cmp "$dir/wanted" "$dir/text" >"$dir/log" &&
    tips "$dir/sentence.svg" | awk '/^mat/ { printf " %.3f", $NF }' >"$dir/got" &&
    [ "mat$(cat "$dir/got")" = "$(grep '^  mat  *[0-9]' "$dir/text" | head -n 1 | awk '{ $1 = $1; print }')" ]
ok 'sentence --svg: the weights of its table'
run sentence "$words" --heads 2 --head 1 --svg "$dir/got.svg" >"$dir/text" && tips "$dir/got.svg" |
    awk '/^mat/ { printf " %.3f", $NF }' >"$dir/got" &&
    [ "mat$(cat "$dir/got")" = "$(grep '^  mat  *[0-9]' "$dir/text" | sed -n 2p | awk '{ $1 = $1; print }')" ]
ok '... of one head'
run sentence "$words" --svg - >"$dir/got" && cmp "$dir/sentence.svg" "$dir/got" >"$dir/log"
ok 'sentence --svg -: the picture alone'
ATTN=$attn sh "$top/doc/pictures.sh" "$dir" 2>"$dir/log" && cmp "$dir/heatmap.svg" "$top/doc/heatmap.svg" >"$dir/log" &&
    cmp "$dir/heatmap-heads.svg" "$top/doc/heatmap-heads.svg" >"$dir/log" && [ -z "$(find "$top/doc" -size +120)" ]
ok 'the pictures of README.md are what doc/pictures.sh draws (make pictures)'

# ------------------------------------------------------------------- errors --

no=$dir/no.svg
bad() { # NAME PATTERN FILE ARGUMENTS...
    bad_name=$1 bad_pattern=$2 bad_file=$3
    shift 3
    refused "$bad_name" "$bad_pattern" heatmap --weights "$bad_file" "$@" -o "$no"
}
echo '1 2' | npy "$dir/flat.npy" f4 '(2,)'
: | npy "$dir/empty.npy" f4 '(0, 6)'
: | npy "$dir/keyless.npy" f4 '(3, 0)'
echo '1 0' | npy "$dir/integers.npy" i4 '(1, 2)'
awk 'BEGIN { for (i = 0; i < 65; i++) print 1 }' | npy "$dir/many.npy" f4 '(65, 1, 1)'
refused 'no weights' 'heatmap needs --weights' heatmap -o "$no"
bad 'one dimension' "$dir/flat.npy: has shape (2,), but must have shape (S, T), (H, S, T) or (B, H, S, T)" \
    "$dir/flat.npy"
bad 'no queries' "$dir/empty.npy: has shape (0, 6), which has no weights" "$dir/empty.npy"
bad 'no keys' "$dir/keyless.npy: has shape (3, 0), which has no weights" "$dir/keyless.npy"
bad 'integers' "$dir/integers.npy: has element type int32" "$dir/integers.npy"
bad 'too many heads' "$dir/many.npy: has 65 heads (shape (65, 1, 1)), more than the 64 of a picture; --head" \
    "$dir/many.npy"
draw "$dir/many.npy" --head 64 -o "$dir/got"
ok '... of which one can be drawn'
bad 'a head that is not there' '--head: 2 is not between 0 and 1' "$dir/heads.npy" --head 2
bad 'a head without heads' '--head: 1 is not between 0 and 0' "$dir/w.npy" --head 1
bad 'a batch that is not there' '--batch: 2 is not between 0 and 1' "$dir/batches.npy" --batch 2
bad 'too few words' '--tokens: has 2 words, but there are 6 queries (the weights have shape (6, 6))' "$dir/w.npy" \
        --tokens 'a b'
bad 'too many keys' '--keys: has 7 words, but there are 6 keys' "$dir/w.npy" --keys 'a b c d e f g'
bad 'other keys than tokens' \
    '--tokens: has 1 word, but there are 300 keys (the weights have shape (1, 300)); --keys' "$dir/row.npy" --tokens a
bad 'an unknown view' "--view: unknown value 'pie'" "$dir/w.npy" --view pie
refused 'an unknown ending' "-o: $dir/no.jpg ends neither in .svg nor in .png" heatmap \
        --weights "$dir/w.npy" -o "$dir/no.jpg"
refused 'lines as text' '--view needs -o' heatmap --weights "$dir/w.npy" --view lines
refused 'labels without a picture' '--tokens needs --svg or --png' layer --x "$dir/x.npy" --wq "$dir/p.npy" \
        --wk "$dir/p.npy" --wv "$dir/p.npy" -o "$dir/no.npy" --tokens a
refused 'a picture that cannot be labelled: no output at all' '--tokens: has 1 word,' sdpa --q "$dir/x.npy" \
        --k "$dir/x.npy" --v "$dir/x.npy" -o "$dir/no.npy" --svg "$no" --tokens a
refused 'a picture in a folder that is not there: no output at all' "$dir/none/no.svg: " sdpa --q "$dir/x.npy" \
        --k "$dir/x.npy" --v "$dir/x.npy" -o "$dir/no.npy" --svg "$dir/none/no.svg"
refused 'one file for a picture and an array' 'is used for two outputs' sdpa --q "$dir/x.npy" --k "$dir/x.npy" \
        --v "$dir/x.npy" -o "$no" --svg "$no"
if [ -z "$no_png" ]; then
    refused 'one file for two pictures' 'is used for two outputs' sentence "$words" --svg "$no" --png "$no"
fi
plan
