# SPDX-License-Identifier: MIT-0
# Nothing here depends on the machine: share/, not lib/.
pkgconfigdir = $(datadir)/pkgconfig
cmakedir = $(datadir)/cmake/attention
nodist_pkgconfig_DATA = packaging/attention.pc
nodist_cmake_DATA = packaging/attention-config.cmake packaging/attention-config-version.cmake
EXTRA_DIST += \
	meson.build \
	packaging/conan/conanfile.py \
	packaging/vcpkg/attention/portfile.cmake \
	packaging/vcpkg/attention/usage \
	packaging/vcpkg/attention/vcpkg.json
EXTRA_DIST += \
	debian/attention-tools.install \
	debian/changelog \
	debian/control \
	debian/copyright \
	debian/libattention-dev.examples \
	debian/libattention-dev.install \
	debian/rules \
	debian/source/format \
	debian/tests/consumer \
	debian/tests/control \
	debian/tests/tool
