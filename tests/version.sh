#!/bin/sh
# SPDX-License-Identifier: MIT-0
#
# version.sh - all files that state a version state that of attention.h. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
version=
for part in MAJOR MINOR PATCH; do
    version=$version${version:+.}$(sed -n "s/^#define ATTN_VERSION_$part \([0-9]*\).*/\1/p" "$top/attention.h")
done

same() { # NAME VERSION
    [ "$2" = "$version" ]
    ok "$1: $2"
}

echo "# attention.h: $version"
# $attn is not quoted: it may begin with an emulator and its arguments.
same 'attn --version' "$($attn --version | tr -d '\r' | sed 's/^attn //')"
same 'configure' "$(sed -n 's/^VERSION = //p' Makefile)"
same 'CHANGELOG.md' "$(sed -n '/^## /{s/^## \([^ ]*\) .*/\1/p;q;}' "$top/CHANGELOG.md")"
same 'debian/changelog' "$(sed -n 's/^attention-h (\(.*\)) .*/\1/p; q' "$top/debian/changelog")"
same 'vcpkg' "$(sed -n 's/^ *"version": "\(.*\)",$/\1/p' "$top/packaging/vcpkg/attention/vcpkg.json")"
plan
