#!/bin/sh -eu
# SPDX-License-Identifier: MIT-0
exec "$SRC/attention.h/fuzz/build.sh"
