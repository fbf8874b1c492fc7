# SPDX-License-Identifier: MIT-0
# shellcheck shell=sh
#
# progress.sh - what progress.h is for programs, for scripts, which source it:
#   progress_on WHAT [DONE ALL]    until progress_off, a line on standard error, on a terminal only, says
#                                  how long WHAT has taken; or, where ALL seconds are known, of which DONE
#                                  were over before, the share that is done and the time that is left
#   progress_off                   to be called before anything else is printed, and by a trap if the
#                                  script may end before

progress_width() { # one less, as a full line wraps on some terminals
    progress_size=$(stty size <&2 2>/dev/null)
    progress_size=${progress_size#* }
    echo $((${progress_size:-80} - 1))
}

progress_line() { # TEXT: in place of the line that is there
    progress_columns=$(progress_width)
    printf '\r%-*.*s' "$progress_columns" "$progress_columns" "$1" >&2
}

progress_lines() { # WHAT [DONE ALL]
    begin=$(date +%s)
    # the script may be killed and could not tell
    while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        passed=$(($(date +%s) - begin))
        left=$((${3:-0} - ${2:-0} - passed))
        if [ "$left" -gt 0 ]; then
            progress_line "$1: $((100 * ($2 + passed) / $3)) %, $left s left"
        else
            progress_line "$1: $passed s"
        fi
    done
}

progress_on() {
    { [ -t 2 ] && [ "${TERM-}" != dumb ]; } || return 0
    progress_lines "$@" &
    progress_process=$!
}

progress_off() {
    [ -n "${progress_process-}" ] || return 0
    kill "$progress_process" 2>/dev/null || true
    wait "$progress_process" 2>/dev/null || true
    progress_process=
    progress_line ''
    printf '\r' >&2
}
