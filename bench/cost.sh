#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and options are lists
#
# cost.sh - what a header-only library costs the program that includes it: processor
# time and memory of the compiler, bytes of code and constants, with all paths and with
# the scalar one alone, beside stb_image. All of it is compiled in turn, several times;
# figures are medians. Then what reading it costs: lines, long ones, long functions.
#
#     cost.sh                    make cost
#     HEADERS="old.h new.h"      make cost HEADERS=...: versions to compare; those that
#                                are not here are looked for in the sources
#
# $CC, $CLANG (where that is another compiler), $ROUNDS, $STB (a path of stb_image.h).

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
# shellcheck source=check/progress.sh
. "$top/check/progress.sh"
CC=${CC:-cc}
CLANG=${CLANG:-clang}
HEADERS=$(for header in ${HEADERS:-attention.h}; do
    if [ -f "$header" ]; then echo "$header"; else echo "$top/$header"; fi
done)
ROUNDS=${ROUNDS:-5}
STB=${STB:-/usr/include/stb/stb_image.h}

cat >"$dir/run.c" <<'END'
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
/* run COMMAND...: seconds of the processor and KiB of memory that it takes. */
int main(int argc, char **argv)
{
    struct rusage r;
    int status = 1;
    const pid_t child = argc > 1 ? fork() : -1;
    if (child == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || status || getrusage(RUSAGE_CHILDREN, &r))
        return 1;
#ifdef __APPLE__
    r.ru_maxrss /= 1024;
#endif
    printf("%.3f ", r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6);
    printf("%ld\n", r.ru_maxrss);
    return 0;
}
END
$CC "$dir/run.c" -o "$dir/run" || exit 1

# What is compiled: a line "NAME|SOURCE|OPTIONS" each.
if [ -f "$STB" ]; then
    cp "$STB" "$dir/stb_image.h"
    printf '#define STB_IMAGE_IMPLEMENTATION\n#include "stb_image.h"\n' >"$dir/stb.c"
    echo 'stb_image|stb|' >"$dir/things"
else
    echo "no $STB to compare with (Debian: apt-get install libstb-dev)"
fi
number=0
for header in $HEADERS; do
    number=$((number + 1))
    cp "$header" "$dir/$number.h" || exit 1
    {
        echo '#define ATTENTION_IMPLEMENTATION'
        echo "#define ATTN_FILE \"$number.h\""
        echo "#include \"$number.h\""
    } >"$dir/$number.c"
    name=${header#"$top/"}
    options=$(grep -o 'ATTN_NO_[A-Z0-9]*' "$header" | sort -u | sed 's/^/-D/' | tr '\n' ' ')
    printf '%s, all paths|%s|\n%s, scalar alone|%s|%s\n' "$name" $number "$name" $number "$options" >>"$dir/things"
done

is_clang() { # COMPILER...
    "$@" -dM -E -x c /dev/null 2>/dev/null | grep -q '^#define __clang__ '
}
echo "$CC" >"$dir/compilers"
if ! is_clang $CC && is_clang $CLANG; then echo "$CLANG" >>"$dir/compilers"; fi

compile() { # COMPILER LEVEL, NAME|SOURCE|OPTIONS: a line of figures
    echo "$3" | (
        IFS='|' read -r name source options
        figures=$("$dir/run" $1 $2 $options -w -I"$dir" -c "$dir/$source.c" -o "$dir/object.o") || exit 1
        size=$($1 -print-prog-name=size 2>/dev/null)
        bytes=$(${size:-size} "$dir/object.o" | awk 'NR == 2 { print $1 + $2 }')
        echo "$1 $2|$name|$figures $bytes"
    )
}
round=0
while [ $round -lt "$ROUNDS" ]; do # every other one in reversed order
    round=$((round + 1))
    progress_on "cost.sh: round $round of $ROUNDS"
    awk -v as_it_is=$((round % 2)) '{ line[NR] = $0 }
        END { for (i = 1; i <= NR; i++) print line[as_it_is ? i : NR + 1 - i] }' "$dir/things" >"$dir/order"
    while read -r thing; do
        while read -r compiler; do
            for level in -O2 -O0; do compile "$compiler" $level "$thing" </dev/null || { progress_off && exit 1; }; done
        done <"$dir/compilers"
    done <"$dir/order" >>"$dir/figures"
    progress_off
done

while read -r compiler; do
    for level in -O2 -O0; do
        echo
        echo "$compiler $level, $($compiler --version | head -n 1), medians of $ROUNDS"
        awk -F'|' -v of="$compiler $level" '
            function median(what, name,    i, k, x, n) { # 0 of none
                n = count[name]
                sorted[0] = sorted[1] = 0
                for (i = 1; i <= n; i++) {
                    x = value[what, name, i]
                    for (k = i; k > 1 && sorted[k - 1] > x; k--) sorted[k] = sorted[k - 1]
                    sorted[k] = x
                }
                return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
            }
            function times(x, one) { return one > 0 ? sprintf("%6.2f", x / one) : "     -" }
            NR == FNR { order[++things] = $1; if (length($1) > wide) wide = length($1); next }
            $1 == of {
                split($3, figure, " ")
                count[$2]++
                for (i = 1; i <= 3; i++) value[i, $2, count[$2]] = figure[i] + 0
            }
            END {
                first = "| %-" wide "s |"
                printf first " seconds |  times | KiB of memory |  times |   bytes |  times |\n", "what"
                for (i = 1; i <= things; i++) {
                    name = order[i]
                    printf first " %7.2f | %s | %13.0f | %s | %7d | %s |\n", name,
                        median(1, name), times(median(1, name), median(1, "stb_image")),
                        median(2, name), times(median(2, name), median(2, "stb_image")),
                        median(3, name), times(median(3, name), median(3, "stb_image"))
                }
            }' "$dir/things" "$dir/figures"
    done
done <"$dir/compilers"

# Functions whose definitions begin at column 0 and end with a brace there; those of
# the kernel template are ATTN__V(name).
for header in $HEADERS; do
    echo
    awk -v header="${header#"$top/"}" '
        { sub(/\r$/, "") }
        length($0) > 120 { wide++ }
        /^[A-Za-z_]/ && /\(/ && !/^typedef/ && !/;$/ && !/=/ { signature = $0; at = NR }
        (/^\{/ || /\{$/) && signature != "" && !begin && (at == NR || /^\{/) { begin = at }
        begin && /^\}/ || signature != "" && at == NR && /\}$/ {
            functions++
            length_of = NR - at + 1
            if (length_of > 80) {
                gsub(/__attribute__\(\([^)]*\)\)/, "", signature)
                if (match(signature, /ATTN__V\([a-z0-9_]+\)/)) name = substr(signature, RSTART, RLENGTH)
                else {
                    match(signature, /[A-Za-z0-9_]+\(/)
                    name = substr(signature, RSTART, RLENGTH - 1)
                }
                long++
                list = list sprintf("  %4d lines at %d: %s\n", length_of, at, name)
            }
            begin = 0
            signature = ""
        }
        END {
            printf "%s: %d lines, %d over 120 columns; ", header, NR, wide
            printf "%d functions, %d over 80 lines\n", functions, long
            printf "%s", list
        }' "$header"
done
