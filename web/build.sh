#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# build.sh - the page as one file: web/page.html, in which a line @FILE@ stands for that file, and @version@ for the
# version. The module is text in it, in base64, so that the page needs no server.
#
#     build.sh MODULE > attention.html
set -eu
top=${srcdir:-.}
version=$(sed -n 's/^#define ATTN_VERSION_[A-Z]* \([0-9]*\).*/\1/p' "$top/attention.h" | paste -s -d . -)
base64 "$1" | awk -v top="$top" -v version="$version" '
    function put(file,    line) {
        if (file == "attention.wasm.base64") file = "-"
        else file = top (file ~ /golden/ ? "/tests/" : "/web/") file
        while ((status = getline line < file) > 0) print line
        if (status < 0) exit 1
    }
    /^@[a-z0-9.-]*@$/ { put(substr($0, 2, length($0) - 2)); next }
    { gsub("@version@", version); print }' "$top/web/page.html"
