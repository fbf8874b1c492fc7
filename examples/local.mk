# SPDX-License-Identifier: MIT-0
EXTRA_DIST += \
	examples/c11_parallel_for.h \
	examples/consumer/CMakeLists.txt \
	examples/consumer/meson.build \
	examples/decode.c \
	examples/gcd_parallel_for.h \
	examples/generate.c \
	examples/int8_cache.c \
	examples/layer.c \
	examples/openmp_parallel_for.h \
	examples/pthread_parallel_for.h \
	examples/python/batches.py \
	examples/python/heads.py \
	examples/python/layer_class.py \
	examples/python/sentence.py \
	examples/python/steps.py \
	examples/quick_start.c \
	examples/shared_prefix.c \
	examples/shares.c \
	examples/tutorial.c \
	examples/vit.c \
	examples/windows_parallel_for.h
