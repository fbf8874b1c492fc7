#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2046,SC2086,SC2154 # lists of words; folders come from the environment
#
# install.sh - what make install installs can be used through pkg-config, through CMake's
# find_package and as a Meson subproject; make uninstall removes all of it. Prints TAP.
#
# Installs with DESTDIR into a folder of its own. With the argument `installed` (make
# installcheck), tests what is already installed. Needs $MAKE, $srcdir, $CC and the folders
# known to make: $prefix $includedir $bindir $mandir $pkgconfigdir.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"
build=$(pwd)
CC=${CC:-cc}
unset MAKEFLAGS MFLAGS MAKELEVEL
have() { command -v "$1" >/dev/null 2>&1; }

if [ "${1-}" = installed ]; then
    root=${DESTDIR-}
else
    root=$dir/root
    ${MAKE:-make} install DESTDIR="$root" >"$dir/log" 2>&1
    ok 'make install'
fi

[ -f "$root$includedir/attention.h" ] && cmp "$root$includedir/attention.h" "$top/attention.h" >"$dir/log" 2>&1
ok 'the header'
[ -s "$root$mandir/man1/attn.1" ] && [ -s "$root$mandir/man3/attention.3" ]
ok 'the manual pages'

if [ -n "${RUN-}" ]; then
    skip 'programs that use it' 'for another machine'
else
    version=$("$root$bindir/attn" --version 2>"$dir/log") && [ -n "$version" ]
    ok 'the program runs'
    version=${version#attn }

    # works PROGRAM: it prints the numbers that quick_start.c computes
    works() { "$1" >"$dir/output" 2>&1 && grep -q '^no error: 1.6604769 2.6604769$' "$dir/output"; }

    if have pkg-config; then
        (
            unset PKG_CONFIG_LIBDIR
            PKG_CONFIG_PATH=$root$pkgconfigdir
            [ -z "$root" ] || PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 # which folders below $root are not
            export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_ALLOW_SYSTEM_CFLAGS
            [ "$(pkg-config --modversion attention)" = "$version" ] &&
                $CC -O1 $(pkg-config --cflags attention) "$top/examples/quick_start.c" -o "$dir/by-pkg-config" $(pkg-config --libs attention)
        ) >"$dir/log" 2>&1 && works "$dir/by-pkg-config"
        ok 'a program through pkg-config'
        mkdir "$dir/a b"
        cp "$root$includedir/attention.h" "$dir/a b"
        (
            PKG_CONFIG_PATH=$root$pkgconfigdir
            export PKG_CONFIG_PATH
            eval "$CC -O1 $(pkg-config --define-variable=includedir="$dir/a b" --cflags attention)" '"$top/examples/quick_start.c" -o "$dir/by-pkg-config"'
        ) >"$dir/log" 2>&1 && works "$dir/by-pkg-config"
        ok '... from a folder with a space in its name'
    else
        skip 'a program through pkg-config' 'no pkg-config'
    fi

    if have cmake; then
        mkdir "$dir/cmake"
        cmake_with() { # VERSION: the one that find_package asks for
            rm -rf "$dir/cmake/build" "$dir/cmake/consumer"
            mkdir "$dir/cmake/build" "$dir/cmake/consumer"
            cp "$top/examples/quick_start.c" "$dir/cmake"
            sed "s/find_package(attention [0-9.]*/find_package(attention $1/" "$top/examples/consumer/CMakeLists.txt" >"$dir/cmake/consumer/CMakeLists.txt"
            (cd "$dir/cmake/build" && CC=$CC CFLAGS=-O1 cmake -DCMAKE_PREFIX_PATH="$root$prefix" ../consumer >"$dir/log" 2>&1)
        }
        cmake_with "$version" && cmake --build "$dir/cmake/build" >>"$dir/log" 2>&1 && works "$dir/cmake/build/quick_start"
        ok "a program through CMake's find_package"
        ! cmake_with 99 && grep -q 'version' "$dir/log"
        ok 'a version that is not installed is not found'
    else
        skip "a program through CMake's find_package" 'no cmake'
    fi

    if have meson && have ninja; then
        mkdir -p "$dir/meson/consumer/subprojects/attention"
        cp "$top/examples/quick_start.c" "$dir/meson"
        cp "$top/attention.h" "$top/meson.build" "$dir/meson/consumer/subprojects/attention"
        meson_with() { # VERSION: the one that the dependency must have
            sed "s/version: '>=[0-9.]*'/version: '>=$1'/" "$top/examples/consumer/meson.build" >"$dir/meson/consumer/meson.build"
            (
                unset PKG_CONFIG_PATH CMAKE_PREFIX_PATH
                rm -rf "$dir/meson/build" && cd "$dir/meson/consumer" &&
                    CC=$CC CFLAGS='' meson setup --wrap-mode=forcefallback --optimization=1 "$dir/meson/build"
            ) >"$dir/log" 2>&1
        }
        meson_with "$version" && meson compile -C "$dir/meson/build" >>"$dir/log" 2>&1 && works "$dir/meson/build/quick_start"
        ok 'a program with a Meson subproject'
        ! meson_with 99 && grep -q "found $version but need: '>=99'" "$dir/log"
        ok 'a version that is not available is refused'
    else
        skip 'a program with a Meson subproject' 'no meson or no ninja'
    fi
fi

if [ "${1-}" != installed ]; then
    cd "$build" && ${MAKE:-make} uninstall DESTDIR="$root" >"$dir/log" 2>&1 && find "$root" ! -type d >>"$dir/log" &&
        [ -z "$(find "$root" ! -type d)" ]
    ok 'make uninstall leaves nothing'
fi
plan
