#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2086 # compilers, flags and launchers are lists
#
# mpi.sh - attention_mpi.h (tests/mpi.c) and attn-mpi with every MPI that is installed, on 1, 2, 3, 4 and 7 ranks. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

OMPI_CC=${CC:-cc} MPICH_CC=${CC:-cc} OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_CC MPICH_CC OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM
warnings='-Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Werror'

# launch RANKS PROGRAM...: a test that hangs has failed
launch() {
    ranks=$1
    shift
    timeout 200 $mpirun $oversubscribe -n "$ranks" "$@" </dev/null
}

mpi_tests() { # NAME
    if "$mpirun" --oversubscribe -n 1 true >/dev/null 2>&1; then oversubscribe=--oversubscribe; else oversubscribe=; fi
    $mpicc -O2 $warnings ${SANITIZER_CFLAGS-} -I"$top" "$top/tests/mpi.c" check/libcheck.a -lm -lpthread \
        -o "$dir/mpi" >"$dir/log" 2>&1
    ok "$1: compiles"
    for ranks in 1 2 3 4 7; do
        launch $ranks "$dir/mpi" >"$dir/out" 2>"$dir/err"
        status=$?
        grep -v '^ok' "$dir/out" >"$dir/log"
        cat "$dir/err" >>"$dir/log"
        count=$(grep -c '^ok' "$dir/out")
        [ $status = 0 ] && [ "1..$count" = "$(tail -n 1 "$dir/out")" ]
        ok "$1, $ranks ranks: $count tests of attention_mpi.h"
    done
}

seen=
if [ -n "${RUN-}" ]; then
    skip 'MPI' 'programs of another machine'
elif [ "${MPICC-no}" = no ]; then
    skip 'MPI' 'configure found none (apt-get install libopenmpi-dev openmpi-bin)'
else
    for pair in "$MPICC $MPIRUN" 'mpicc.openmpi mpirun.openmpi' 'mpicc.mpich mpirun.mpich'; do
        mpicc=${pair% *} mpirun=${pair#* }
        command -v "$mpicc" >/dev/null && command -v "$mpirun" >/dev/null || continue
        real=$($mpicc -show)
        case $seen in *"|$real|"*) continue ;; esac
        seen="$seen|$real|"
        case $real in *openmpi*) mpi_tests 'Open MPI' ;; *mpich*) mpi_tests MPICH ;; *) mpi_tests "$mpicc" ;; esac
    done
fi
plan
