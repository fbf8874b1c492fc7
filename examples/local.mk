# SPDX-License-Identifier: MIT-0
EXTRA_DIST += \
	examples/consumer/CMakeLists.txt \
	examples/consumer/meson.build \
	examples/decode.c \
	examples/generate.c \
	examples/layer.c \
	examples/openmp_parallel_for.h \
	examples/pthread_parallel_for.h \
	examples/python/batches.py \
	examples/python/heads.py \
	examples/python/layer_class.py \
	examples/python/sentence.py \
	examples/python/steps.py \
	examples/quick_start.c \
	examples/tutorial.c
