# SPDX-License-Identifier: MIT-0
check_LIBRARIES += check/libcheck.a
check_libcheck_a_SOURCES = \
	check/adapter.c \
	check/adapter.h \
	check/allocation.h \
	check/clock.h \
	check/harness.c \
	check/harness.h \
	check/hash_cases.h \
	check/implementation.c \
	check/reference.c \
	check/reference.h
EXTRA_DIST += check/hash.c check/progress.sh
