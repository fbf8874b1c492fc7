#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers and flags are lists
#
# macros.sh - no macro that a program has before it includes attention.h, or attention_mpi.h where
# there is MPI, breaks it: those of any header of the system, those that are common, and words of
# capitals that the header uses itself. Prints TAP. $CC is the compiler of the build. With HEADERS_ALL set, takes the headers
# in folders of the system's too, which takes minutes.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
CC=${CC:-cc}
cd "$dir" || exit 99
warnings='-Wall -Wextra -Wshadow -Werror'
have() { command -v "${1%% *}" >/dev/null 2>&1; }

# compiles NAME COMPILER...: the file include.h, then the header: declarations, implementation
# and all of it static, with optimization and without, in both arithmetics.
cat >source.c <<'END_OF_SOURCE'
#if defined(__x86_64__)
#include <immintrin.h> /* which macros may break, too, but that is not ours */
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include <math.h>
#include <string.h>
#include "include.h"
#include "attention.h"
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
END_OF_SOURCE
compiles() {
    for options in '' '-O1 -DATTN_STATIC' -DATTN_UNFUSED; do
        "$@" $warnings $options -I. -I"$top" -fsyntax-only source.c || return 1
    done
    [ -z "$mpi" ] || "$@" $warnings $mpi -I. -I"$top" -fsyntax-only mpi.c
}
printf '%s\n' '#include <mpi.h>' '#include <stdlib.h>' '#include <string.h>' '#include "include.h"' '#define ATTENTION_MPI_IMPLEMENTATION' '#include "attention_mpi.h"' >mpi.c
mpi=
[ "${MPICC:-no}" = no ] ||
    mpi="-DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX $($MPICC -show | tr ' ' '\n' | sed -n 's/^-I/-isystem /p' | tr '\n' ' ')"

# macros_of NAMES WHAT: include.h, in which each is a macro that is an error wherever it is expanded
macros_of() { awk -v what="$2" '{ print "#undef " $1; print "#define " $1 what " attn_hit(" }' "$1" >include.h; }

# ------------------------------------------------------------ our own words --

# Code without comments and strings: its words of capitals that have no prefix. Macros'
# parameters are among them, and names that are pasted: neither can be hit.
awk '{
    while ((at = match($0, /\/\*|"([^"\\]|\\.)*"/))) {
        if (substr($0, at, 1) == "\"") { $0 = substr($0, 1, at - 1) " " substr($0, at + RLENGTH); continue }
        printf "%s", substr($0, 1, at - 1)
        $0 = substr($0, at + 2)
        while (!(end = index($0, "*/"))) if ((getline) <= 0) exit
        $0 = substr($0, end + 2)
    }
    print
}' "$top/attention.h" "$top/attention_mpi.h" | sed 's|//.*||' | grep -v '^ *#pragma\|^ *#error' | grep -o '[A-Za-z0-9_]*' | grep '^[A-Z][A-Z0-9_]*$' | grep -v '^ATT\|^SIMDE\|^MPI_' | sort -u |
    grep -v -x 'NULL\|UINT64_C\|INT32_MAX\|INT64_MAX\|SIZE_MAX' >capitals # macros that it uses
[ "$(wc -l <capitals)" -gt 10 ]
ok 'the words of capitals without a prefix that the headers have'

# Those of systems and programs that are not here: DOS and Windows; curses; kernels, cosmopolitan
# and embedded C; Qt; game engines; old Unix and compilers of vectors.
tr ' ' '\n' >common <<'END_OF_NAMES'
near far small huge hyper interface pascal cdecl
lines columns direct
noinline unused used packed always_inline noreturn weak pure current fallthrough deprecated visibility target optimize access
slots signals emit forever foreach
internal global local persist
unix linux i386 sun mips vector pixel complex imaginary
I N M W X T MAGIC LANES ODD MASKED LOG2E PI IN OUT OPTIONAL BLOCK ROWS COUNT
END_OF_NAMES
tr ' ' '\n' >functions <<'END_OF_NAMES'
min max abs sqr swap bit len index round floor ceil fabs sqrt exp log pow sin cos tanh fma isnan isinf signbit
assert check verify require error warn likely container_of F
END_OF_NAMES

for compiler in "$CC -std=gnu11" 'clang -std=c99' "g++ -x c++ -std=c++11"; do
    if ! have "$compiler"; then
        skip "$compiler" 'is not installed'
        continue
    fi
    macros_of capitals ''
    compiles $compiler >log 2>&1
    ok "$compiler: each of them a macro"
    macros_of common ''
    compiles $compiler >log 2>&1
    ok "$compiler: common names of macros"
    macros_of functions '(...)'
    compiles $compiler >log 2>&1
    ok "$compiler: common names of macros with arguments"
done

# ------------------------------------------------------- the system's headers --

# Those that can be included on their own. Under include.h, as that is first in the path.
folders=$($CC -E -v -x c /dev/null 2>&1 | sed -n '/^#include <\.\.\.>/,/^End/s|^ ||p' | grep -v '/lib/')
for folder in $folders; do
    if [ -n "${HEADERS_ALL-}" ]; then
        (cd "$folder" && find . -name '*.h' | sed 's|^\./||' | grep -v '^c++/\|^llvm\|^node/\|^simde/\|^python')
    else
        (cd "$folder" && find . -name '*.h' ! -path './*/*' -o -path './sys/*.h' | sed 's|^\./||')
    fi
done | grep -v -x 'attention\.h' | sort -u >all

alone() { # HEADERS: can they be included, one after the other?
    sed 's/.*/#include <&>/' "$1" >include.h
    printf '#include "include.h"\n' >only.c
    $CC -std=gnu11 -w -I. -fsyntax-only only.c >/dev/null 2>&1
}
while read -r header; do
    echo "$header" >one
    if alone one; then echo "$header"; fi
done <all >standing

# Many at a time, as compiling takes its time; one by one where they contradict each other or break the header.
: >broken
try() { # HEADERS
    if alone "$1" && $CC -std=gnu11 $warnings -Wno-cpp -DATTN_STATIC -I. -I"$top" -fsyntax-only source.c >messages 2>&1; then return; fi
    if [ "$(wc -l <"$1")" -le 1 ]; then
        cat "$1" messages >>broken
        return
    fi
    half=$(($(wc -l <"$1") / 2))
    head -n $half "$1" >"$1-a"
    tail -n +$((half + 1)) "$1" >"$1-b"
    try "$1-a"
    try "$1-b"
}
split -l 32 standing part-
for part in part-??; do try "$part"; done
cp broken log
[ "$(wc -l <standing)" -gt 20 ] && [ ! -s broken ]
ok "after each of $(wc -l <standing) headers of the system"

windows=/usr/share/mingw-w64/include
if have clang && [ -f $windows/windows.h ]; then
    printf '#include <windows.h>\n' >include.h
    for language in c c++; do
        clang -x $language --target=x86_64-w64-windows-gnu -isystem $windows -I. -I"$top" -fsyntax-only source.c >log 2>&1
        ok "after windows.h, $language"
    done
else
    skip 'after windows.h' 'no clang, or no headers of MinGW'
fi
plan
