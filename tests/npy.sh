# SPDX-License-Identifier: MIT-0
# shellcheck shell=sh
#
# npy.sh - what the scripts that test the attn program share; they source it: tap.sh, and how to
# make .npy files, read them, and see that a command is refused.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
unset ATTN_PATH

# $attn is not quoted: it may begin with an emulator and its arguments.
run() { $attn "$@" 2>"$dir/stderr"; }

# escapes TYPE ORDER: the numbers of standard input as printf escapes of their bytes. TYPE is
# f2, f4, f8, i1, u1, i4, i8 or b1, ORDER little or big. Floats are truncated, not rounded.
escapes() {
    awk -v type="$1" -v order="$2" '
    function binary(x, n,  s) { for (s = ""; n > 0; n--) { s = (x % 2) s; x = int(x / 2) } return s }
    function bits(x,  exponent, sign) {
        if (size == 1) return binary(x < 0 ? x + 256 : x, 8)
        if (type ~ /i/) return binary(0, size * 8 - 32) binary(x, 32)
        sign = x < 0 ? 1 : 0
        if (x == 0) return binary(0, size * 8)
        if (sign) x = -x
        for (exponent = 0; x >= 2; exponent++) x /= 2
        for (; x < 1; exponent--) x *= 2
        return sign binary(exponent + bias, exponents) binary(int((x - 1) * 2 ^ fraction), fraction)
    }
    BEGIN {
        size = substr(type, 2)
        exponents = size == 2 ? 5 : size == 4 ? 8 : 11
        bias = 2 ^ (exponents - 1) - 1
        fraction = size * 8 - 1 - exponents
    }
    {
        for (i = 1; i <= NF; i++) {
            word = bits($i); line = ""
            for (k = 0; k < size; k++) {
                byte = 0
                for (j = 1; j <= 8; j++) byte = byte * 2 + substr(word, 8 * k + j, 1)
                byte = sprintf("\\%03o", byte)
                line = order == "big" ? line byte : byte line
            }
            printf "%s", line
        }
    }'
}

# npy FILE TYPE SHAPE [ORDER [FORTRAN]]: writes the numbers of standard input to a file.
npy() {
    sign='<'
    if [ "$4" = big ]; then sign='>'; fi
    case $2 in ?1) sign='|' ;; esac
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '$sign$2', 'fortran_order': ${5:-False}, 'shape': $3, }" >"$1"
    # shellcheck disable=SC2059
    printf "$(escapes "$2" "${4:-little}")" >>"$1"
}

# noise COUNT SEED: random numbers in [-1, 1) with all bits of a float32.
noise() {
    awk -v n="$1" -v x="$2" 'BEGIN {
        for (; n > 0; n--) { x = (x * 1103515245 + 12345) % 2147483648; printf "%.17g ", (int(x / 128) - 8388608) / 8388608 }
    }'
}

header_size() { od -An -tu1 -j8 -N2 "$1" | awk '{ print 10 + $1 + 256 * $2 }'; }
header() { head -c "$(header_size "$1")" "$1" | tail -c +11; }

# values FILE TYPE: the elements of an .npy file, as printed by od (with its name of the type).
values() { od -An -v -t"$2" -j "$(header_size "$1")" "$1" | tr -s ' \n' ' '; }

# near TOLERANCE VALUES WANTED: are there as many values as wanted, all within the tolerance?
near() {
    echo "$2 | $3" | awk -v e="$1" '{
        for (n = 1; $n != "|"; n++);
        if (NF - n != n - 1 || n == 1) exit 1
        for (i = 1; i < n; i++) { d = $i - $(n + i); if (!(d <= e && -d <= e)) exit 1 }
    }'
}

has() { case $1 in *"$2"*) true ;; *) false ;; esac; }

# Are there no outputs and no temporary files?
clean() { [ -z "$(find "$dir" -name 'no.*' -o -name 'no2.*' -o -name '.attn*')" ]; }

# refused NAME PATTERN ARGUMENTS...: tests for status 2, one line with the pattern, no output.
refused() {
    name=$1
    pattern=$2
    shift 2
    run "$@" >"$dir/stdout"
    refused_status=$?
    line=$(cat "$dir/stderr")
    [ $refused_status -eq 2 ] && [ "$(wc -l <"$dir/stderr")" -eq 1 ] && [ ! -s "$dir/stdout" ] && clean &&
        has "$line" "attn: " && has "$line" "$pattern"
    ok "refused: $name"
    rm -f "$dir"/no.*
}
