# SPDX-License-Identifier: MIT-0
test_programs = \
	tests/accuracy \
	tests/aliases \
	tests/array_forms \
	tests/c11_adapter \
	tests/eight_bits \
	tests/element_types \
	tests/elementary \
	tests/errors \
	tests/extremes \
	tests/feature_pairs \
	tests/gcd_adapter \
	tests/known_values \
	tests/kv_cache \
	tests/layer \
	tests/library_conventions \
	tests/mask_places \
	tests/masked_rows \
	tests/masks \
	tests/matmul \
	tests/onnx \
	tests/optional_outputs \
	tests/packed_caches \
	tests/packed_sequences \
	tests/partial_states \
	tests/pictures \
	tests/plain_call \
	tests/pthread_adapter \
	tests/quantizing \
	tests/query_intervals \
	tests/recipes \
	tests/relative_bias \
	tests/ring_caches \
	tests/rotary \
	tests/rotary_models \
	tests/rounding_modes \
	tests/row_alone \
	tests/row_statistics \
	tests/same_bits \
	tests/score_modifiers \
	tests/score_range \
	tests/shares \
	tests/softmax_axis \
	tests/split_keys \
	tests/strides \
	tests/vit \
	tests/weights \
	tests/windows_adapter \
	tests/workspace
test_scripts = \
	tests/flags.sh \
	tests/golden.sh \
	tests/heatmap.sh \
	tests/inclusion.sh \
	tests/install.sh \
	tests/lists.sh \
	tests/macros.sh \
	tests/man.sh \
	tests/mpi.sh \
	tests/openmp_adapter.sh \
	tests/progress.sh \
	tests/python.sh \
	tests/readme.sh \
	tests/stack.sh \
	tests/tool.sh \
	tests/version.sh \
	tests/web.sh

check_PROGRAMS += $(test_programs)
TESTS += $(test_programs) $(test_scripts)
EXTRA_DIST += $(test_scripts) tests/cross.sh tests/golden.txt tests/golden-unfused.txt tests/mpi.c tests/npy.sh tests/picture.py tests/python.py tests/sizes.sh tests/stack.c tests/tap.sh tests/targets.txt tests/terminal.py tests/web.py doc/distributed.md doc/distributed.py doc/heatmap-heads.svg doc/heatmap.svg doc/pictures.sh doc/portability.md doc/tutorial.md

# of the programs that say nothing else
LDADD = check/libcheck.a
tests_pictures_SOURCES = tests/pictures.c $(picture_sources)
tests_pictures_LDADD = check/libcheck.a $(PNG_LIBS)
tests_c11_adapter_CPPFLAGS = $(AM_CPPFLAGS) $(C11_THREADS_CPPFLAGS)
tests_gcd_adapter_CPPFLAGS = $(AM_CPPFLAGS) $(GCD_CPPFLAGS)
tests_gcd_adapter_LDADD = $(LDADD) $(GCD_LIBS)

TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
SH_LOG_COMPILER = $(SHELL)

# LOG_COMPILER is the user's: make check LOG_COMPILER="qemu-aarch64 -L ..."
AM_TESTS_ENVIRONMENT = \
	ATTN='$(abs_top_builddir)/attn$(EXEEXT)'; export ATTN; \
	CC='$(CC)'; export CC; \
	EXEEXT='$(EXEEXT)'; export EXEEXT; \
	MPICC='$(MPICC)'; export MPICC; \
	MPIRUN='$(MPIRUN)'; export MPIRUN; \
	SANITIZER_CFLAGS='$(SANITIZER_CFLAGS)'; export SANITIZER_CFLAGS; \
	PNG_LIBS='$(PNG_LIBS)'; export PNG_LIBS; \
	PYTHON3='$(PYTHON3)'; export PYTHON3; \
	RUN='$(LOG_COMPILER)'; export RUN; \
	$(INSTALL_ENVIRONMENT)

# where things are installed, for tests/install.sh
INSTALL_ENVIRONMENT = \
	MAKE='$(MAKE)'; export MAKE; \
	prefix='$(prefix)'; export prefix; \
	includedir='$(includedir)'; export includedir; \
	bindir='$(bindir)'; export bindir; \
	mandir='$(mandir)'; export mandir; \
	pkgconfigdir='$(pkgconfigdir)'; export pkgconfigdir;
installcheck-local:
	$(INSTALL_ENVIRONMENT) CC='$(CC)' srcdir='$(srcdir)' RUN='$(LOG_COMPILER)' DESTDIR='$(DESTDIR)' \
		$(SHELL) $(srcdir)/tests/install.sh installed >install-check.log; \
	status=$$?; cat install-check.log; test $$status = 0 && ! grep -q '^not ok' install-check.log
CLEANFILES += install-check.log

# exp and tanh of every float: half an hour
check-exp-exhaustive: tests/elementary$(EXEEXT)
	$(LOG_COMPILER) tests/elementary$(EXEEXT) exhaustive

# extreme sizes on every path: output, weights, error in units of the bound
check-table: tests/extremes$(EXEEXT)
	$(LOG_COMPILER) tests/extremes$(EXEEXT) table

# how many times slower a call is where inputs are subnormal
check-denormals: tests/rounding_modes$(EXEEXT)
	$(LOG_COMPILER) tests/rounding_modes$(EXEEXT) denormals

# every flag of every compiler, and every machine, that is installed here
check-flags:
	CC='$(CC)' FLAGS_ALL=1 srcdir='$(srcdir)' $(SHELL) $(srcdir)/tests/flags.sh
CROSS = srcdir='$(abs_srcdir)' $(SHELL) $(srcdir)/tests/cross.sh
check-cross:
	+$(CROSS) $(TARGETS)
$(CROSS_CHECKS):
	+$(CROSS) `echo $@ | sed 's/^check-//'`
# runs all of them, an hour or so, then matrix-table; that alone: what there is
matrix:
	+status=0; $(CROSS) $(TARGETS) || status=1; $(CROSS) -w $(srcdir)/doc/portability.md; exit $$status
matrix-table:
	$(CROSS) -w $(srcdir)/doc/portability.md
sizes:
	@CC='$(CC)' RUN='$(LOG_COMPILER)' srcdir='$(srcdir)' $(SHELL) $(srcdir)/tests/sizes.sh
CONFIGURE_DEPENDENCIES = $(srcdir)/tests/targets.txt
clean-local:
	rm -rf cross
.PHONY: check-table check-denormals check-exp-exhaustive check-flags check-cross $(CROSS_CHECKS) matrix matrix-table sizes
