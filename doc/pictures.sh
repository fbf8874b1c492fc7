#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2086 # $ATTN may begin with an emulator
#
# pictures.sh FOLDER - draws the pictures that README.md shows. $ATTN is the program (default: ./attn).
set -eu
draw() { ${ATTN:-./attn} sentence 'The cat sat on the mat' "$@" >/dev/null; }
draw --svg "$1/heatmap.svg"
draw --dim 32 --heads 4 --view lines --svg "$1/heatmap-heads.svg"
