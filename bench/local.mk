# SPDX-License-Identifier: MIT-0
EXTRA_PROGRAMS += bench/bench
bench_bench_SOURCES = \
	bench/arrays.h \
	bench/bench.c \
	bench/bench.h \
	bench/cases.c \
	bench/check.c \
	bench/external.c \
	bench/machine.c \
	bench/measure.c \
	bench/measure.h \
	bench/ours.c \
	bench/peers.c \
	bench/plot.c \
	bench/report.c \
	bench/roofline.c \
	bench/roofline_body.h \
	check/clock.h \
	check/progress.c \
	check/progress.h \
	check/reference.c \
	check/reference.h
bench_bench_CPPFLAGS = $(AM_CPPFLAGS) $(BLAS_CPPFLAGS) $(DNNL_CPPFLAGS)
bench_bench_LDADD = bench/libpeer.a $(BLAS_LIBS) $(DNNL_LIBS)

EXTRA_PROGRAMS += bench/mixed_batch
bench_mixed_batch_SOURCES = bench/mixed_batch.c check/clock.h examples/pthread_parallel_for.h

EXTRA_PROGRAMS += bench/poisoned
bench_poisoned_SOURCES = bench/poisoned.c check/clock.h check/implementation.c check/reference.c check/reference.h

# What a good C programmer writes for himself, with the flags that it wants.
EXTRA_LIBRARIES += bench/libpeer.a
bench_libpeer_a_SOURCES = bench/peer_softmax.c bench/peer_softmax_body.h
bench_libpeer_a_CFLAGS = $(AM_CFLAGS) -ffast-math $(VECLIB_CFLAGS)
CLEANFILES += bench/mpi bench/simd128.js
EXTRA_DIST += bench/NOTES.md bench/performance.svg bench/peer.py bench/peer_onnxruntime.js bench/cost.sh bench/hot_loop.awk bench/int8_scores.c bench/neon_mca.sh bench/simd128.c bench/mpi.c

.PHONY: bench bench-batch bench-mpi bench-peers bench-plot bench-poisoned bench-wasm cost neon-mca
bench: bench/bench$(EXEEXT)
	bench/bench$(EXEEXT) $(BENCH_ARGS)

# a batch of sequences in one call and one by one, by one worker and by two
bench-batch: bench/mixed_batch$(EXEEXT)
	bench/mixed_batch$(EXEEXT)

# what NaN, infinities and numbers beyond the range cost; BENCH_ARGS="f32 scalar 8"
bench-poisoned: bench/poisoned$(EXEEXT)
	bench/poisoned$(EXEEXT) $(BENCH_ARGS)

# with the programs of other languages that configure found
bench-peers: bench/bench$(EXEEXT)
	bench/bench$(EXEEXT) $(BENCH_PEERS) $(BENCH_ARGS)

# one and two ranks against one process: what doc/distributed.md has
bench-mpi:
	OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPICC) -O2 -I$(top_srcdir) $(srcdir)/bench/mpi.c -o bench/mpi$(EXEEXT) $(LIBS)
	for n in 1 2; do $(MPIRUN) -n $$n bench/mpi$(EXEEXT) || exit 1; done

# unfused arithmetic in WebAssembly, beside the ceiling of its four lanes
bench-wasm:
	emcc -O2 -msimd128 -sSINGLE_FILE=1 -sALLOW_MEMORY_GROWTH=1 -I$(srcdir) $(srcdir)/bench/simd128.c -o bench/simd128.js
	node bench/simd128.js

# the plot that README.md shows
bench-plot: bench/bench$(EXEEXT)
	bench/bench$(EXEEXT) $(BENCH_PEERS) --svg $(srcdir)/bench/performance.svg $(BENCH_ARGS)

# what including the header costs, beside stb_image: HEADERS="old.h new.h" compares two; ROUNDS=
cost:
	@CC='$(CC)' CLANG='$(CLANG)' HEADERS='$(HEADERS)' ROUNDS='$(ROUNDS)' srcdir='$(srcdir)' \
		$(SHELL) $(srcdir)/bench/cost.sh

neon-mca:
	srcdir=$(srcdir) $(srcdir)/bench/neon_mca.sh
