#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# shellcheck disable=SC2086 # compilers are lists
#
# stack.sh - every public function needs at most 48 KiB of stack when the header is
# compiled with -O2, and at most 96 KiB with -O0, by gcc and by clang; it runs in threads
# of 128 KiB, and of 64 KiB with -O2 where there are such, and in coroutines of 64 KiB (1 MiB
# with -O0). TAP, and what each function takes. Here $CC compiles, not the flags of the build, and clang where
# that is another compiler; tests/stack.c measures.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
CC=${CC:-cc}
cd "$dir" || exit 99

skip_all() { # WHY
    echo "1..0 # SKIP $1"
    exit 0
}
macro() { # NAME: does $CC define it?
    $CC -dM -E -x c /dev/null 2>/dev/null | grep -q "^#define $1 "
}

[ -z "${RUN-}" ] || skip_all 'an emulator has a stack of its own'
case $CC in *-fsanitize*) skip_all 'sanitizers take more' ;; esac
if ! macro __GNUC__ || macro __TINYC__; then skip_all "the promise is for gcc and clang, not for $CC"; fi
cat >probe.c <<'END'
#include <pthread.h>
#include <sys/mman.h>
int main(void)
{
    pthread_attr_t attributes;
    return pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, 0, 0) == 0 || !MAP_ANONYMOUS;
}
END
{ $CC probe.c -pthread -o probe && ./probe; } >log 2>&1 || skip_all 'no pthread_attr_setstack or no mmap'
cat >probe.c <<'END'
#include <ucontext.h>
static ucontext_t a, b;
static void f(void) {}
int main(void)
{
    static char stack[65536];
    if (getcontext(&b)) return 1;
    b.uc_stack.ss_sp = stack;
    b.uc_stack.ss_size = sizeof stack;
    b.uc_link = &a;
    makecontext(&b, f, 0);
    return swapcontext(&a, &b);
}
END
coroutines=
{ $CC probe.c -o probe && ./probe; } >log 2>&1 && coroutines=-DCOROUTINES
: >log

sed '/^#endif \/\* ATTENTION_H \*\/$/q' "$top/attention.h" |
    sed -n 's/^ATTN_DEF [^(]*[ *]\(attn_[a-z0-9_]*\)(.*/\1/p' | sort >functions
[ "$(wc -l <functions)" -gt 20 ]
ok 'attention.h declares functions'
printf '#define ATTENTION_IMPLEMENTATION\n#include "attention.h"\n' >attn.c

run() { # LEVEL STACKS COMPILER...; what the program says in LEVEL.taken, what went wrong in LEVEL.log
    level=$1 stacks=$2
    shift 2
    "$@" "$level" -I"$top" -c attn.c -o "./$level.o" >"./$level.log" 2>&1 &&
        "$@" "./$level.o" stack.o -lm -pthread -o "./$level" >>"./$level.log" 2>&1 &&
        "./$level" $stacks >"./$level.taken" 2>>"./$level.log" || echo "exit status $?" >>"./$level.log"
}
judge() { # LEVEL STACKS KIB WHAT: the program's lines against the limit
    cp "./$1.log" log
    ! grep '^exit status' log >/dev/null
    ok "$4 $1: every call succeeds, also in ${coroutines:+coroutines of ${2%% *} KiB and }threads of $(echo "${2#* }" | sed "s/ / and /") KiB"
    sed -n 's/^no threads/# &/p' "./$1.log"
    [ -f "./$1.taken" ] || : >"./$1.taken"
    sed 's/^/# /' "./$1.taken"
    awk '{ print $1 }' "./$1.taken" | sort | diff functions - >log
    ok "$4 $1: every function of attention.h is called, and no other"
    awk -v most="$3" '$2 > most * 1024 { print $1, "takes", $2, "bytes of stack"; high = 1 }
        END { exit high || NR == 0 }' "./$1.taken" >log
    ok "$4 $1: no function takes more than $3 KiB of stack"
}
measure() { # COMPILER...
    rm -f ./-O*
    "$@" -O1 $coroutines -I"$top" -c "$top/tests/stack.c" -o stack.o >log 2>&1
    ok "$*: tests/stack.c compiles"
    run -O0 '1024 128' "$@" &
    run -O2 '64 128 64' "$@"
    wait
    judge -O2 '64 128 64' 48 "$*"
    judge -O0 '1024 128' 96 "$*"
}

measure $CC
if macro __clang__; then
    skip 'clang beside it' "$CC is clang"
elif command -v clang >/dev/null; then
    measure clang
else
    skip clang 'is not installed'
fi
plan
