#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086,SC2317 # compilers and flags are lists; functions go by name
#
# inclusion.sh - in any C or C++ program, attention.h compiles without warnings, defines no
# other names, needs nothing but what its manual says, and its macros work. Prints TAP.
# $CC is the compiler of the build, $RUN runs its programs (may be empty), $srcdir is the
# top of the sources.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
CC=${CC:-cc}
cd "$dir" || exit 99

warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-align -Wundef -Wdouble-promotion -Werror'

# ------------------------------------------------------------------- helpers --

# check NAME COMMAND...: a test. Two run at a time; results are printed in order at the end.
check() {
    number=$((number + 1))
    echo "$1" >"$number.name"
    shift
    ("$@" >"$number.log" 2>&1 && : >"$number.ok") &
    [ $((number % 2)) = 1 ] || wait
}

skip() { # NAME WHY
    number=$((number + 1))
    echo "$1 # SKIP $2" >"$number.name"
    : >"$number.ok"
}

report() {
    wait
    failed=0
    i=1
    while [ $i -le $number ]; do
        if [ -e $i.ok ]; then
            echo "ok $i - $(cat $i.name)"
        else
            echo "not ok $i - $(cat $i.name)"
            head -20 $i.log | sed 's/^/# /'
            failed=1
        fi
        i=$((i + 1))
    done
    plan
    exit $failed
}

nm=$($CC -print-prog-name=nm 2>/dev/null)
nm=${nm:-nm}

have() { command -v "${1%% *}" >/dev/null 2>&1; }

refuses() { ! "$@"; }

object_of() { echo "$1" | tr -c 'A-Za-z0-9+\n' _; }

compilers() { # the first installed one of each argument
    for c in "$@"; do
        case " $seen " in *" ${c%% *} "*) continue ;; esac
        seen="$seen ${c%% *}"
        have "$c" && echo "$c"
    done
}
seen=
c_compilers=$(compilers "$CC" gcc clang | tr '\n' ';')
seen=
cxx_compilers=$(compilers g++ clang++ | tr '\n' ';')

# ------------------------------------------------------------------- sources --

cat >declarations.c <<'END'
#include "attention.h"
#include "attention.h"
int main(void) { return ATTN_OK; }
END
cat >implementation.c <<'END'
#include "attention.h"
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include "attention.h"
END
cat >static.c <<'END'
#define ATTN_STATIC
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
int main(void) { return attn_dtype_size(ATTN_F32) != 4; }
END
# A function that computes everything and returns one number. NAME is defined on the command
# line, so that one program can have several copies.
cat >hash.c <<'END'
#define ATTN_STATIC
#define ATTN_NO_AVX512 /* compiles in half the time */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"

unsigned long long NAME(void);

static float q[2 * 40 * 24], k[600 * 24], v[600 * 20], out[2 * 40 * 20], weights[2 * 40 * 600], lse[2 * 40];
static double x[60 * 90], y[60 * 60];
static char workspace[1 << 22];

static unsigned long long hash(unsigned long long h, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t i;
    for (i = 0; i < bytes; i++) h = (h ^ p[i]) * 1099511628211ull; /* FNV-1a */
    return h;
}

static void fill(float *p, size_t n, unsigned s, float scale)
{
    size_t i;
    for (i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        p[i] = ((float)(s >> 8) / 8388608.0f - 1.0f) * scale;
    }
}

unsigned long long NAME(void)
{
    static const float sizes[3] = {1.0f, 100.0f, 1e30f};
    unsigned long long h = 14695981039346656037ull;
    attn_exec run = attn_exec_in(workspace, sizeof workspace);
    attn_desc d = attn_desc_default();
    attn_array a = attn_array_2d(ATTN_F64, x, 60, 90), b = attn_array_2d(ATTN_F64, x, 90, 60), c = attn_array_2d(ATTN_F64, y, 60, 60);
    size_t i;
    d.q = attn_array_3d(ATTN_F32, q, 2, 40, 24);
    d.k = attn_array_3d(ATTN_F32, k, 1, 600, 24);
    d.v = attn_array_3d(ATTN_F32, v, 1, 600, 20);
    d.out = attn_array_3d(ATTN_F32, out, 2, 40, 20);
    d.scores = attn_array_3d(ATTN_F32, weights, 2, 40, 600);
    d.lse = attn_array_2d(ATTN_F32, lse, 2, 40);
    for (i = 0; i < 6; i++) {
        fill(q, 2 * 40 * 24, (unsigned)i, sizes[i / 2]);
        fill(k, 600 * 24, 7, sizes[i / 2]);
        fill(v, 600 * 20, 9, sizes[i / 2]);
        d.causal = i % 2;
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        d.softcap = i % 2 ? 30 : 0;
        h = h * 31 + (unsigned)attn_forward(&d, &run);
        h = hash(h, out, sizeof out);
        h = hash(h, weights, sizeof weights);
        h = hash(h, lse, sizeof lse);
    }
    for (i = 0; i < 60 * 90; i++) x[i] = (double)k[i] * 1e-29;
    h = h * 31 + (unsigned)attn_matmul(&a, &b, &c, &run);
    h = h * 31 + (unsigned)attn_softmax(&c, 0, &c, &run);
    return hash(h, y, sizeof y);
}
END
cat >two.c <<'END'
#include <stdio.h>
unsigned long long first(void);
unsigned long long second(void);
int main(void)
{
    printf("%llx %llx\n", first(), second());
    return first() != second();
}
END
cat >program.cpp <<'END'
#include "attention.h"
#include <cstdio>
#include <vector>
namespace app {
attn_status attention(const std::vector<float> &x, std::vector<float> &y)
{
    attn_array in = attn_array_2d(ATTN_F32, x.data(), 2, x.size() / 2), out = attn_array_2d(ATTN_F32, y.data(), 2, y.size() / 2);
    std::size_t bytes = 0;
    attn_exec run = attn_exec_default();
    run.query = &bytes;
    attn_status status = attn_self_attention(&in, &in, &in, &out, nullptr, &run);
    if (status != ATTN_OK) return status;
    std::vector<char> workspace(bytes);
    run = attn_exec_in(workspace.data(), workspace.size());
    return attn_self_attention(&in, &in, &in, &out, nullptr, &run);
}
}
using namespace app;
int main()
{
    std::vector<float> x = {1, 0, 0, 1}, y(4);
    const attn_status status = attention(x, y);
    std::printf("%s\n", attn_status_string(status));
    return status != ATTN_OK || !(y[0] > 0.5f && y[0] < 1.0f);
}
END

cat >in_namespace.cpp <<'END'
#include <cstddef>
#include <cstdint>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
namespace app {
#define ATTN_STATIC
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
int version() { return attn_version() == nullptr; }
}
int main() { return app::version() || app::attn_dtype_size(app::ATTN_F32) != 4; }
END
cat >paths.c <<'END'
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>
int main(void)
{
    int path;
    for (path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++)
        if (attn_path_compiled((attn_path)path)) printf("%s\n", attn_path_name((attn_path)path));
    return attn_path_native(attn_best_path()) ? 0 : 1;
}
END

# -------------------------------------------------------------------- checks --

IFS=';'
for cc in $c_compilers; do
    IFS=' '
    for std in c99 c11 c17 c2x; do
        check "$cc, $std: declarations, twice" $cc -std=$std $warnings -I"$top" -fsyntax-only declarations.c
        check "$cc, $std: implementation" $cc -std=$std $warnings -I"$top" -fsyntax-only implementation.c
    done
    object=$(object_of "$cc")
    check "$cc -O0: no warning; ATTN_STATIC without unused ones" $cc -std=c99 $warnings -I"$top" -c static.c -o "$object-static.o"
    check "$cc -O2: no warning" $cc -std=c99 -O2 $warnings -I"$top" -c implementation.c -o "$object.o"
done
IFS=';'
for cxx in $cxx_compilers; do
    IFS=' '
    for std in c++11 c++14 c++17 c++20; do
        check "$cxx, $std: declarations, twice" $cxx -x c++ -std=$std $warnings -I"$top" -fsyntax-only declarations.c
        check "$cxx, $std: implementation" $cxx -x c++ -std=$std $warnings -I"$top" -fsyntax-only implementation.c
    done
    object=$(object_of "$cxx")
    check "$cxx -O0: no warning; ATTN_STATIC without unused ones" $cxx -x c++ -std=c++11 $warnings -I"$top" -c static.c -o "$object-static.o"
    check "$cxx -O2: no warning" $cxx -x c++ -std=c++11 -O2 $warnings -I"$top" -c implementation.c -o "$object.o"
    check "$cxx, unfused: the path of 16-byte vectors" $cxx -x c++ -std=c++11 $warnings -DATTN_UNFUSED -I"$top" -fsyntax-only implementation.c
    if printf '#include <simde/arm/neon.h>\n' | $cxx -x c++ -fsyntax-only - 2>/dev/null; then
        check "$cxx: the paths of other machines" $cxx -x c++ -std=c++11 -DATTN_USE_SIMDE -I"$top" -fsyntax-only implementation.c
    else
        skip "$cxx: the paths of other machines" "no SIMDe"
    fi
    check "$cxx: the implementation inside of a namespace" $cxx -x c++ -std=c++11 $warnings -I"$top" -fsyntax-only in_namespace.cpp
done
IFS=' '
[ -n "$cxx_compilers" ] || skip "C++" "no C++ compiler"

# Paths that are left out are not compiled in, and the object file has no code of theirs.
left_out() { # OBJECT OPTIONS...
    object=$1
    shift
    $CC -std=c99 -O0 $warnings "$@" -I"$top" -c paths.c -o "$object.o" && $CC "$object.o" -o "$object" && $RUN "./$object" >"$object.paths" &&
        $nm "$object.o" >"$object.symbols" || return 1
    for option in "$@"; do
        case $option in -DATTN_NO_*) ;; *) continue ;; esac
        path=$(echo "$option" | sed 's/-DATTN_NO_//' | tr '[:upper:]' '[:lower:]')
        grep -x "$path" "$object.paths" && return 1
        grep "attn__${path}_" "$object.symbols" && return 1
    done
    grep -q 'attn__scalar_' "$object.symbols"
}
options=$(grep -o 'ATTN_NO_[A-Z0-9]*' "$top/attention.h" | sort -u | sed 's/^/-D/' | tr '\n' ' ')
for option in $options; do # unfused, so that all are there that can be
    check "$option: left out" left_out "left$option" -DATTN_UNFUSED "$option"
done
check "all of them: scalar alone" left_out no-simd -DATTN_UNFUSED $options

for option in -DATTN_FUSED -DATTN_UNFUSED; do
    check "$option" $CC -std=c99 $warnings $option -I"$top" -fsyntax-only implementation.c
done
check "both at once: refused" refuses $CC -DATTN_FUSED -DATTN_UNFUSED -I"$top" -fsyntax-only implementation.c
own_definition() {
    $CC -O0 $warnings "-DATTN_DEF=extern __attribute__((section(\"mine\")))" -I"$top" -c implementation.c -o definition.o &&
        $nm --format=sysv definition.o | grep 'attn_forward .*mine'
}
check "ATTN_DEF stands before every function" own_definition

# The closest to Microsoft's compiler that is possible here: clang in its mode, with declarations
# of our own instead of a C library's; and clang without __clang__, so that the header uses its
# code for Microsoft's compiler.
as_microsoft() { # LANGUAGE FILE OPTIONS...
    $clang_cl --driver-mode=cl --target=x86_64-pc-windows-msvc /W4 /WX /Zs /clang:-ffreestanding /clang:-Wno-unknown-pragmas "/T$1" "$2" /I"$top" /Imicrosoft /clang:-mf16c "/arch:$3"
}
mkdir microsoft
echo '#include <stddef.h>
#ifdef __cplusplus
extern "C"
#endif
void *memcpy(void *, const void *, size_t), *memset(void *, int, size_t);' >microsoft/string.h
echo '#ifdef __cplusplus
extern "C"
#endif
float fmaf(float, float, float);
#ifdef __cplusplus
extern "C"
#endif
double fma(double, double, double);' >microsoft/math.h
{
    echo '#include <immintrin.h>'
    echo '#include <intrin.h>'
    echo '#undef __clang__'
    cat implementation.c
} >microsoft.c
clang_cl=$(compilers clang-19 clang-16 clang | head -n 1)
if [ -n "$clang_cl" ]; then
    for language in c p; do
        check "$clang_cl as cl, /T$language" as_microsoft $language implementation.c AVX
        check "$clang_cl under another name, /T$language" as_microsoft $language microsoft.c AVX512
    done
else
    skip "clang as cl" "no clang"
fi

# The header includes no files but those of the compiler and the C library.
alone() {
    read_files=$($CC -MM -I"$top" implementation.c | grep -o '[^ ]*\.[ch]$\|[^ ]*\.[ch] ' | sed 's|.*/||; s/ //' | sort -u | tr '\n' ' ')
    echo "$read_files"
    [ "$read_files" = 'attention.h implementation.c ' ] && $CC -M -I"$top" implementation.c >all.files && refuses grep -i simde all.files
}
check "no other header is read" alone

mkdir renamed
cp "$top/attention.h" renamed/my_attention.h
sed 's/attention\.h/my_attention.h/' implementation.c >renamed/implementation.c
check "renamed, with ATTN_FILE" $CC -std=c99 $warnings -DATTN_FILE='"my_attention.h"' -fsyntax-only renamed/implementation.c
printf '#include "attention.h"\n' >renamed/installed.c
if $CC -fsyntax-only renamed/installed.c 2>messages; then skip "renamed, without: refused" "there is an attention.h in the compiler's own path"
else check "renamed, without: refused" refuses $CC -std=c99 -fsyntax-only renamed/implementation.c; fi

printf '#define ATTENTION_IMPLEMENTATION\n' | cat - "$top/attention.h" >renamed/larger.c
refused_in_a_line() { # WORD COMPILER...: one error, and it has the word
    word=$1
    shift
    "$@" 2>messages.$word
    [ "$(grep -c 'error:\|warning:' messages.$word)" = 1 ] && grep "error: .*attention.h: .*$word" messages.$word
}
for cc in "$CC" clang; do
    have "$cc" || continue
    [ -e renamed/attention.h ] || $cc -fsyntax-only renamed/installed.c 2>messages ||
        check "$cc, renamed or part of a larger file: one line says what to do" refused_in_a_line ATTN_FILE $cc -std=c99 $warnings -fsyntax-only renamed/larger.c
    check "$cc, C89: one line says what is wanted" refused_in_a_line C99 $cc -std=c89 -fsyntax-only -I"$top" implementation.c
done
# 0 is the same as nothing
zero_is_off() {
    $CC -std=c99 -E -P -I"$top" implementation.c >without.i || return 1
    for option in $options -DATTN_USE_SIMDE -DATTN_STATIC -DATTN_FUSED -DATTN_UNFUSED; do
        $CC -std=c99 -E -P $warnings "$option=0" -I"$top" implementation.c | cmp - without.i || return 1
    done
    $CC -std=c99 -E -P $warnings -DATTN_STATIC -I"$top" implementation.c | cmp -s - without.i && return 1
    $CC -E -P -DATTENTION_IMPLEMENTATION=0 -I"$top" declarations.c >with.i && $CC -E -P -I"$top" declarations.c | cmp - with.i
}
check "an option defined as 0 is not set" zero_is_off
echo '#include "attention.h"
int main() { attn_exec e = {0}; attn_desc d = {0}; attn_layer l = {0}; attn_array a = {0}; return (int)e.num_workers + d.causal + (int)l.num_heads + a.ndim; }' >zeros.c
IFS=';'
for cxx in $cxx_compilers; do
    IFS=' '
    check "$cxx: = {0}" $cxx -x c++ -std=c++11 -Wall -Wno-missing-braces -Werror -I"$top" -fsyntax-only zeros.c
done
IFS=' '

# Two shared libraries with versions of their own.
libraries() { # OPTIONS: prints the versions that a program with both sees
    for v in 1 2; do
        mkdir -p version$v
        sed "s/define ATTN_VERSION_MAJOR .*/define ATTN_VERSION_MAJOR $v/" "$top/attention.h" >version$v/attention.h
        printf '#define ATTN_NO_AVX512\n#define ATTENTION_IMPLEMENTATION\n#include "attention.h"\n__attribute__((visibility("default"))) const char *version%s(void) { return attn_version(); }\n' $v >library$v.c
        $CC -fPIC -shared $1 -Iversion$v library$v.c -o library$v.so || return 1
    done
    $CC libraries.c ./library1.so ./library2.so -o libraries && $RUN ./libraries
}
cat >libraries.c <<'END'
#include <stdio.h>
const char *version1(void), *version2(void);
int main(void) { return printf("%c%c\n", *version1(), *version2()) < 0; }
END
own_versions() { for options in -DATTN_STATIC -fvisibility=hidden; do [ "$(libraries $options)" = 12 ] || return 1; done; }
if [ -z "${EXEEXT-}" ] && [ "$(libraries '')" ]; then
    check "two shared libraries: ATTN_STATIC or hidden visibility keeps versions apart" own_versions
else
    skip "two shared libraries" "none here"
fi

# ATTN_PREFIX: two copies in one program that are not static.
cat >prefixed.c <<'END'
#define ATTN_NO_AVX512
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
END
cat >prefixes.c <<'END'
#define ATTN_PREFIX one_
#include "attention.h"
const char *two_path_name(attn_path path);
int main(void)
{
    one_array a = attn_array_1d(ATTN_F32, NULL, 3);
    return a.shape[0] != 3 || attn_dtype_size(a.dtype) != one_dtype_size(ATTN_F32) || *two_path_name(ATTN_PATH_AUTO) != 'a';
}
END
prefixed() {
    $CC -std=c99 -O0 $warnings -DATTN_PREFIX=one_ -I"$top" -c prefixed.c -o one.o &&
        $CC -std=c99 -O0 $warnings -DATTN_PREFIX=two_ -I"$top" -c prefixed.c -o two.o &&
        $CC -std=c99 $warnings -I"$top" prefixes.c one.o two.o -o prefixes && $RUN ./prefixes
}
check "ATTN_PREFIX: two versions in one program" prefixed
check "ATTN_PREFIX: no name is left out" sh -c "! $CC -E -DATTN_PREFIX=one_ -I'$top' prefixed.c | grep -w -o 'attn_[a-z][a-z0-9_]*'"

# Without a C library: gcc and clang need none of its headers.
mkdir no_library
echo 'void *mine(unsigned long long);' >mine.h
for header in math stdlib stdio string; do echo "#error this is of the C library" >no_library/$header.h; done
freestanding() { # COMPILER
    $1 -std=c99 -O2 $warnings -I"$top" -c prefixed.c -o freestanding.o &&
        $nm --undefined-only freestanding.o | awk '{ print $NF }' | grep -v '^_' | sort >needed && # names with _ belong to the compiler
        sed -n 's/^ \* *One that allocates nothing needs \(.*\)\.$/\1/p' "$top/attention.h" | tr -d ',' | tr ' ' '\n' | sort | diff - needed
}
check "-ffreestanding: allocates nothing, and needs no header of the C library" freestanding "$CC -ffreestanding -Ino_library"
check "ATTN_NO_MALLOC: allocates nothing" freestanding "$CC -DATTN_NO_MALLOC"
check "ATTN_MALLOC and ATTN_FREE: no header of the C library" $CC -std=c99 -ffreestanding $warnings -Ino_library "-DATTN_MALLOC(n)=mine(n)" "-DATTN_FREE(p)=(void)(p)" -include mine.h -I"$top" -fsyntax-only implementation.c
check "ATTN_MALLOC alone: refused" refuses $CC "-DATTN_MALLOC(n)=mine(n)" -include mine.h -I"$top" -fsyntax-only implementation.c

# gcc can be told to compile the header without what it is told on the command line, the others
# cannot; of the bits see flags.sh.
if echo '__GNUC__ __clang__' | $CC -E -P -x c - | awk '{ exit !($1 >= 12 && $2 == "__clang__") }'; then
    for flag in -ffast-math -Ofast -ffinite-math-only; do
        check "$flag: no warning" $CC -std=c99 $flag $warnings -I"$top" -fsyntax-only implementation.c
    done
else
    for flag in -ffast-math -Ofast -ffinite-math-only; do
        check "$flag is refused" refuses $CC $flag -I"$top" -fsyntax-only implementation.c
        check "$flag is refused by name" sh -c "$CC $flag -I'$top' -fsyntax-only implementation.c 2>&1 | grep 'attention.h: .*-ffast-math'"
    done
fi

# Two copies in one program, compiled for different machines: neither uses code of the other,
# and both give the same bits.
wide=
for flags in '-mavx2 -mfma' '-mcpu=neoverse-n1' '-mcpu=power9'; do
    $CC $flags -fsyntax-only declarations.c -I"$top" 2>/dev/null && wide=$flags && break
done
wait
two_copies() {
    $CC -O1 -DNAME=first -I"$top" -c hash.c -o first.o &&
        $CC -O3 $wide -ffp-contract=fast -DNAME=second -I"$top" -c hash.c -o second.o &&
        $CC two.c first.o second.o -lm -o two && $RUN ./two
}
check "two copies with different flags ($wide): the same bits" two_copies
# Of two symbols with one name a linker keeps one, perhaps with code for the other machine.
shared_symbols() { # COMPILER
    $1 -O0 $wide -DNAME=second -I"$top" -c hash.c -o "wide.$2.o" && $nm --defined-only --extern-only "wide.$2.o" | awk '{ print $NF }' >"wide.$2" &&
        cat "wide.$2" && [ "$(grep -cv '^DW\.ref\.' "wide.$2")" = 1 ] && grep second "wide.$2"
}
check "... which share no symbol" shared_symbols "$CC" c
[ -z "$cxx_compilers" ] || check "... in C++ neither" shared_symbols "${cxx_compilers%%;*} -x c++" c++

cxx_program() { # uses the implementation, compiled as C, from C++
    "${cxx_compilers%%;*}" -std=c++11 $warnings -I"$top" program.cpp "$(object_of "$CC").o" -lm -o program && ./program
}
if [ -n "$cxx_compilers" ] && [ -z "$RUN" ]; then
    check "a C++ program with namespaces" cxx_program
else
    skip "a C++ program with namespaces" "no C++ compiler for this machine"
fi

symbols() { # PATTERN OBJECT: do all global symbols match the pattern?
    $nm --defined-only --extern-only "$1" | awk '{ print $NF }' >"$1.symbols" && [ -s "$1.symbols" ] && refuses grep -v '^attn_[a-z]' "$1.symbols"
}
variables() { # is the cache of CPU features the only writable variable?
    $nm --format=sysv "$1" | awk -F'|' '
        $7 ~ /^\.(data|bss|tdata|tbss)/ && $7 !~ /^\.data\.rel\.ro/ { gsub(/ /, "", $1); print $1 }
        $3 ~ /C/ { print $1 }' | refuses grep -v '^cache\|attn__machine.*cache$'
}
undefined() { # OBJECT: does it need just what the manual says? names with _ belong to the compiler
    $nm --undefined-only "$1" | awk '{ print $NF }' | grep -v '^_' | sort >"$1.undefined"
    sed -n 's/^ \* *An object file needs \(.*\)\.$/\1/p' "$top/attention.h" | tr -d ',' | tr ' ' '\n' | grep . | sort | diff - "$1.undefined"
}
if have "$nm"; then
    IFS=';'
    for compiler in $c_compilers$cxx_compilers; do
        IFS=' '
        object=$(object_of "$compiler").o
        check "$object exports only attn_ names" symbols "$object"
        check "$object has no variable but the cache" variables "$object"
        check "$object needs what the manual lists" undefined "$object"
    done
else
    skip "symbols" "no $nm"
fi
# Macros that a program may define: those that the header tests are those in the manual's table
# and those that this file or another test uses.
asked=$(sed -n '/^ *#/s/[^A-Za-z_0-9]/ /gp' "$top/attention.h" | awk '
    $1 ~ /^(if|ifdef|ifndef|elif)$/ { for (i = 2; i <= NF; i++) if ($i ~ /^ATT(N|ENTION)_[A-Z0-9]/) print $i }' | grep -v -x -e ATTENTION_H -e ATTENTION_IMPLEMENTATION | sort -u | tr '\n' ' ')
listed=$(sed -n '/^ \* BUILD OPTIONS/,/^ \* =====/s/^ \*   \(ATTN_[A-Z0-9_, A]*\)  .*/\1/p' "$top/attention.h" | tr -d , | tr ' ' '\n' | grep . | sort -u | tr '\n' ' ')
knobs() {
    echo "the header asks for: $asked"
    echo "the manual lists:    $listed"
    [ "$asked" = "$listed" ]
}
check "the manual's table lists the macros that the header asks for" knobs
for knob in $listed; do
    check "$knob has a test" \
        grep -E "(-D|define )$knob([^A-Z0-9_]|\$)" "$top/tests/inclusion.sh" "$top/configure.ac" ./*.name
done
report
