#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# run.sh - proves what proofs/*.c say with CBMC (https://www.cprover.org/cbmc), each for all
# inputs within the sizes that it states: a minute or two each. Exit status 77 without cbmc.
# Usage: run.sh [NAME ...]

cd "$(dirname "$0")/.." || exit 99
# shellcheck source=check/progress.sh
. check/progress.sh
trap progress_off EXIT
trap 'exit 99' HUP INT TERM
CBMC=${CBMC:-cbmc}
if ! "$CBMC" --version >/dev/null 2>&1; then
    echo "no $CBMC (in Debian: the package cbmc)"
    exit 77
fi
[ $# != 0 ] || set -- check pages state
failed=0
for name in "$@"; do
    case $name in # the most often that a loop is passed through; that this suffices is proved, too
        check) loops=9 ;;
        pages) loops=10 ;;
        *) loops=14 ;;
    esac
    progress_on "run.sh: $name"
    "$CBMC" "proofs/$name.c" -I. --unwind $loops --unwinding-assertions --bounds-check --pointer-check \
        --signed-overflow-check --div-by-zero-check --undefined-shift-check --drop-unused-functions --slice-formula \
        >"proofs-$name.log" 2>&1
    status=$?
    progress_off
    if [ $status = 0 ]; then
        echo "proved: $name"
        rm -f "proofs-$name.log"
    else
        echo "NOT proved: $name, see proofs-$name.log"
        grep ': FAILURE$' "proofs-$name.log"
        failed=1
    fi
done
exit $failed
