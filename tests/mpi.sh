#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2086 # compilers, flags and launchers are lists
#
# mpi.sh - attention_mpi.h (tests/mpi.c) and attn-mpi, with every MPI that is installed, on 1, 2, 3, 4 and 7 ranks. TAP.

# shellcheck source=tests/npy.sh
. "${srcdir:-.}/tests/npy.sh"

build=$(pwd)
OMPI_CC=${CC:-cc} MPICH_CC=${CC:-cc} OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
OMPI_MCA_odls_base_sigkill_timeout=0 # the second that Open MPI waits for ranks which have ended, once one has failed
export OMPI_CC MPICH_CC OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_odls_base_sigkill_timeout
flags="-O2 -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Werror ${SANITIZER_CFLAGS-} -I$top"

[ -z "${SANITIZER_CFLAGS-}" ] || export ASAN_OPTIONS=detect_leaks=0 # those of MPI; tests/mpi.c counts ours

# launch RANKS PROGRAM...: one that hangs has failed
launch() {
    ranks=$1
    shift
    timeout 200 $mpirun $oversubscribe -n "$ranks" "$@" </dev/null
}

# refused TEXT ARGUMENTS...: one rank says so, in one line, and there is no file
refused() {
    text=$1
    shift
    ! launch 2 "$dir/attn-mpi" "$@" -o "$dir/none.npy" >"$dir/log" 2>&1 &&
        [ "$(grep -c '^attn: ' "$dir/log")" = 1 ] && grep -q "^attn: .*$text" "$dir/log" && [ "$(echo "$dir"/none*)" = "$dir/none*" ]
    ok "$name, attn-mpi: $text"
}

# Without a warning, in every standard; no names but its own.
header_tests() {
    here=$($mpicc -show | tr ' ' '\n' | sed -n 's/^-I/-isystem /p')
    strict="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-align -Wundef -Wdouble-promotion -Werror"
    strict="$strict -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX"
    printf '#define ATTENTION_MPI_IMPLEMENTATION\n#include "attention_mpi.h"\nint main(void) { return 0; }\n' >"$dir/header.c"
    for standard in c99 c11 c17 c2x c++11 c++14 c++17 c++20; do
        case $standard in c++*) language=c++ compilers='g++ clang++' ;; *) language=c compilers="${CC:-cc} clang" ;; esac
        for compiler in $compilers; do
            case $compiler in -*) continue ;; esac # an option in $CC
            command -v "$compiler" >/dev/null || continue
            for options in '' '-DATTN_STATIC -DATTENTION_IMPLEMENTATION' -DATTN_PREFIX=my_; do
                case $options$standard in *STATIC*c99 | -DATTN_PREFIX* | c*) ;; *) continue ;; esac # others take seconds
                $compiler -x $language -std=$standard $strict $options $here -I"$top" -fsyntax-only "$dir/header.c" >>"$dir/log" 2>&1 ||
                    echo "$compiler -std=$standard $options" >>"$dir/log"
            done
        done
    done
    [ ! -s "$dir/log" ]
    ok "$name: attention_mpi.h compiles as C99 to C23 and C++11 to C++20, static, and with another prefix"
    for options in -DPLAIN '-include attention_mpi.h'; do
        printf '#include <stdint.h>\n#include <stddef.h>\n#include <stdlib.h>\n#include <string.h>\n#include <mpi.h>\n' |
            ${CC:-cc} -x c -DATTENTION_MPI_IMPLEMENTATION $options $here -I"$top" -dM -E - 2>>"$dir/log" | sort >"$dir/macros$options"
    done
    ! comm -13 "$dir/macros-DPLAIN" "$dir/macros-include attention_mpi.h" | grep -v '^#define ATT[A-Z]*_' >>"$dir/log" &&
        ${CC:-cc} $here -I"$top" -c "$dir/header.c" -o "$dir/header.o" 2>>"$dir/log" &&
        ! nm -g --defined-only "$dir/header.o" | grep -v ' attn_mpi_[a-z_]*$\| main$' >>"$dir/log"
    ok "$name: attention_mpi.h defines no other names"
}

# far ARGUMENTS...: attn-mpi on two ranks, on a terminal
far() { python3 "$top/tests/terminal.py" 80 timeout 200 $mpirun $oversubscribe -n 2 "$dir/attn-mpi" sdpa "$@" -o "$dir/o.npy" >"$dir/seen" 2>&1; }

progress_tests() {
    if ! python3 -c 'import pty' 2>/dev/null; then
        skip "$name, attn-mpi: progress" 'no python3, or no terminals in it'
        return
    fi
    tokens=4096
    until [ $tokens -gt 40000 ]; do
        tokens=$((2 * tokens))
        : | npy "$dir/t.npy" f4 "($tokens, 8)"
        head -c $((32 * tokens)) /dev/zero >>"$dir/t.npy"
        inputs="--q $dir/t.npy --k $dir/t.npy --v $dir/t.npy --path scalar"
        far $inputs --progress || break
        ! grep -q '^over: attn: computing: ' "$dir/seen" || break
    done
    cp "$dir/seen" "$dir/log"
    grep -q '^over: attn: computing: [0-9]* %, [0-9]* s left$' "$dir/seen" && ! grep -v '^over: ' "$dir/seen"
    ok "$name, attn-mpi --progress: the share that is computed, which is erased at the end"
    far $inputs && [ ! -s "$dir/seen" ]
    ok "$name, attn-mpi: no progress into a pipe"
}

tool_tests() {
    $mpicc $flags "$top/tools/mpi/attn_mpi.c" $objects -lm -lpthread ${PNG_LIBS-} -o "$dir/attn-mpi" >"$dir/log" 2>&1
    ok "$name: attn-mpi compiles"
    inputs="--q $dir/q.npy --k $dir/k.npy --v $dir/v.npy --causal lower-right --mask $dir/m.npy --sinks $dir/s.npy --rel-bias $dir/r.npy"
    for ranks in 1 2 3 4 7; do
        case $ranks in 3) schedules='tree ring heads' ;; *) schedules=auto ;; esac # each for any number: tests/mpi.c
        same=0
        for schedule in $schedules; do
            rm -f "$dir/o.npy" "$dir/l.npy"
            launch $ranks "$dir/attn-mpi" sdpa $inputs --schedule $schedule -o "$dir/o.npy" --lse "$dir/l.npy" \
                --report >"$dir/report" 2>>"$dir/log" && cmp "$dir/o.npy" "$dir/o1.npy" >>"$dir/log" &&
                cmp "$dir/l.npy" "$dir/l1.npy" >>"$dir/log" && [ "$(wc -l <"$dir/report")" = $((ranks + 2)) ] &&
                same=$((same + 1))
        done
        [ $same = "$(echo $schedules | wc -w)" ]
        ok "$name, $ranks ranks: attn-mpi has the bytes of attn"
    done
    launch 3 "$dir/attn-mpi" sdpa --q "$dir/q.npy" --k "$dir/k.npy" --v "$dir/swapped.npy" --order contiguous --dtype f16 \
        -o "$dir/o.npy" >"$dir/log" 2>&1 &&
        $attn sdpa --q "$dir/q.npy" --k "$dir/k.npy" --v "$dir/v.npy" --dtype f16 -o "$dir/o2.npy" &&
        cmp "$dir/o.npy" "$dir/o2.npy" >>"$dir/log"
    ok "$name, attn-mpi: another byte order, converted to float16"
    inputs="--q $dir/q.npy --k $dir/k.npy"
    refused 'the number of keys is 3 ' sdpa $inputs --v "$dir/few.npy"
    refused 'is in Fortran order' sdpa $inputs --v "$dir/fortran.npy"
    refused 'gone.npy: ' sdpa $inputs --v "$dir/gone.npy"
    refused 'unknown value' sdpa $inputs --v "$dir/v.npy" --schedule star
    refused 'is for one process' sdpa $inputs --v "$dir/v.npy" --weights "$dir/none.npy"
    refused 'a parameter is out of range' sdpa $inputs --v "$dir/v.npy" --softcap -1
    refused 'does not compute this' sdpa $inputs --v "$dir/v.npy" --kv-dtype i8
    refused 'too large' sdpa $inputs --v "$dir/large.npy" --dtype f16
    refused 'the only command' heatmap
    progress_tests
}

mpi_tests() { # NAME
    name=$1
    if $mpirun --oversubscribe -n 1 true >/dev/null 2>&1; then oversubscribe=--oversubscribe; else oversubscribe=; fi
    $mpicc $flags "$top/tests/mpi.c" check/libcheck.a -lm -lpthread -o "$dir/mpi" >"$dir/log" 2>&1
    ok "$name: tests/mpi.c compiles"
    header_tests
    for ranks in 1 2 3 4 7; do
        launch $ranks "$dir/mpi" >"$dir/out" 2>"$dir/err"
        status=$?
        grep -v '^ok' "$dir/out" >"$dir/log"
        cat "$dir/err" >>"$dir/log"
        count=$(grep -c '^ok' "$dir/out")
        [ $status = 0 ] && [ "1..$count" = "$(tail -n 1 "$dir/out")" ]
        ok "$name, $ranks ranks: $count tests of attention_mpi.h"
    done
    tool_tests
}

if [ -n "${PYTHON3-}" ] && "$PYTHON3" -c '' 2>/dev/null; then
    "$PYTHON3" "$top/doc/distributed.py" --check >"$dir/log" 2>&1
    ok 'doc/distributed.md has the tables of doc/distributed.py'
fi
if [ -n "${RUN-}" ]; then
    skip 'MPI' 'programs of another machine'
elif [ "${MPICC:-no}" = no ]; then
    skip 'MPI' 'configure found none (apt-get install libopenmpi-dev openmpi-bin)'
else
    objects=
    for object in "$build"/tools/*.o "$build/check/implementation.o" "$build/check/progress.o"; do
        [ "$object" = "$build/tools/attn.o" ] || objects="$objects $object"
    done
    noise $((4 * 30 * 4)) 1 | npy "$dir/q.npy" f4 '(4, 30, 4)'
    noise $((2 * 1100 * 4)) 2 | npy "$dir/k.npy" f4 '(2, 1100, 4)'
    noise $((2 * 1100 * 4)) 3 >"$dir/numbers"
    npy "$dir/v.npy" f4 '(2, 1100, 4)' <"$dir/numbers"
    npy "$dir/swapped.npy" f4 '(2, 1100, 4)' big <"$dir/numbers"
    npy "$dir/fortran.npy" f4 '(2, 1100, 4)' little True <"$dir/numbers"
    sed '$s/[^ ]* *$/1e30/' "$dir/numbers" | npy "$dir/large.npy" f4 '(2, 1100, 4)'
    noise $((2 * 3 * 4)) 3 | npy "$dir/few.npy" f4 '(2, 3, 4)'
    noise $((30 * 1100)) 4 | npy "$dir/m.npy" f4 '(30, 1100)'
    noise 4 5 | npy "$dir/s.npy" f4 '(4,)'
    noise $((30 * 9)) 6 | npy "$dir/r.npy" f4 '(30, 9)'
    $attn sdpa --q "$dir/q.npy" --k "$dir/k.npy" --v "$dir/v.npy" --causal lower-right --mask "$dir/m.npy" \
        --sinks "$dir/s.npy" --rel-bias "$dir/r.npy" -o "$dir/o1.npy" --lse "$dir/l1.npy"
    seen=
    for pair in "$MPICC ${MPIRUN-}" 'mpicc.openmpi mpirun.openmpi' 'mpicc.mpich mpirun.mpich'; do
        mpicc=${pair% *} mpirun=${pair#* }
        if ! command -v "$mpicc" >/dev/null || ! command -v "$mpirun" >/dev/null; then continue; fi
        real=$($mpicc -show)
        case $seen in *"|$real|"*) continue ;; esac
        seen="$seen|$real|"
        case $real in *openmpi*) mpi_tests 'Open MPI' ;; *mpich*) mpi_tests MPICH ;; *) mpi_tests "$mpicc" ;; esac
    done
fi
plan
