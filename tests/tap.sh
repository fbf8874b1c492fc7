# SPDX-License-Identifier: MIT-0
# shellcheck shell=sh disable=SC2034 # used by the scripts that source this
#
# tap.sh - what the scripts in this folder share; they source it.
#   $top           the folder of the sources
#   $attn          runs the program; not to be quoted, since it may begin with an emulator
#   $dir           a temporary folder, removed at the end
#   ok NAME        reports a test, which passed if the command before did; if it failed,
#                  prints $dir/log
#   skip NAME WHY  reports a test that cannot run here
#   plan           ends the report
#   no_png         prints why attn draws no PNG; nothing if it does
#   $python        Python, which finds attention.py and what it loads
#   no_python      prints why it cannot import attention; nothing if it can

top=$(cd "${srcdir:-.}" && pwd) || exit 99
attn="${RUN:+$RUN }${ATTN:-./attn}"
dir=${TMPDIR:-/tmp}/attn-$(basename "$0" .sh).$$
mkdir "$dir" || exit 99
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM
LC_ALL=C
export LC_ALL
: >"$dir/log"
number=0

ok() { # NAME
    status=$?
    number=$((number + 1))
    [ $status = 0 ] || printf 'not '
    echo "ok $number - $1"
    [ $status = 0 ] || sed 's/^/# /; 40q' "$dir/log"
    : >"$dir/log"
}

skip() { # NAME WHY
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

plan() { echo "1..$number"; }

no_png() { $attn sentence a --png - 2>&1 >/dev/null | grep libpng; }

python=${PYTHON3:-python3}
PYTHONPATH=$top/python
ATTENTION_LIBRARY=$(pwd)/python/_attention.so
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH ATTENTION_LIBRARY PYTHONDONTWRITEBYTECODE
no_python() {
    if [ -n "${RUN-}" ]; then
        echo 'programs of another machine'
    elif [ ! -f "$ATTENTION_LIBRARY" ]; then
        echo 'built without a shared object: see the output of configure'
    elif ! "$python" -c 'import numpy' 2>/dev/null; then
        echo "$python has no NumPy"
    fi
}
