# SPDX-License-Identifier: MIT-0
fuzz_targets = differential extremes primitives misuse metamorphic npy times

check_LIBRARIES += fuzz/libfuzz.a
fuzz_libfuzz_a_SOURCES = \
	fuzz/grammar.c \
	fuzz/grammar.h \
	fuzz/oracle.c \
	fuzz/oracle.h \
	fuzz/standalone.c

# without an engine; fuzz/build.sh builds them with one
fuzz_programs = \
	fuzz/differential \
	fuzz/extremes \
	fuzz/metamorphic \
	fuzz/misuse \
	fuzz/npy \
	fuzz/primitives \
	fuzz/times
check_PROGRAMS += $(fuzz_programs)
fuzz_npy_SOURCES = fuzz/npy.c tools/npy.c tools/npy.h
fuzz_differential_LDADD = fuzz/libfuzz.a check/libcheck.a
fuzz_extremes_LDADD = $(fuzz_differential_LDADD)
fuzz_metamorphic_LDADD = $(fuzz_differential_LDADD)
fuzz_misuse_LDADD = $(fuzz_differential_LDADD)
fuzz_npy_LDADD = $(fuzz_differential_LDADD)
fuzz_primitives_LDADD = $(fuzz_differential_LDADD)
fuzz_times_SOURCES = fuzz/times.c check/clock.h
fuzz_times_LDADD = $(fuzz_differential_LDADD)

TESTS += fuzz/replay.sh
EXTRA_DIST += \
	fuzz/README.md \
	fuzz/attention.dict \
	fuzz/build.sh \
	fuzz/coverage.py \
	fuzz/fuzz.sh \
	fuzz/mutate/equivalent.txt \
	fuzz/mutate/faults.txt \
	fuzz/mutate/mutate.py \
	fuzz/mutate/report.md \
	fuzz/regressions \
	fuzz/replay.sh \
	fuzz/seeds.sh \
	fuzz/seeds/differential.seeds \
	fuzz/seeds/extremes.seeds \
	fuzz/seeds/metamorphic.seeds \
	fuzz/seeds/misuse.seeds \
	fuzz/seeds/npy.seeds \
	fuzz/seeds/primitives.seeds \
	fuzz/seeds/times.seeds \
	fuzz/unreached.txt

CLANG = clang
# SECONDS= for each target, or RUNS= and SEED=; JOBS=, TARGET=, FILE=: see fuzz/README.md
FUZZ = CLANG='$(CLANG)' SECONDS_EACH='$(SECONDS)' RUNS='$(RUNS)' SEED='$(SEED)' JOBS='$(JOBS)' TARGET='$(TARGET)' FILE='$(FILE)' $(SHELL) $(srcdir)/fuzz/fuzz.sh
.PHONY: fuzz-list fuzz-smoke fuzz-campaign fuzz-replay fuzz-one fuzz-minimise fuzz-merge fuzz-pack fuzz-coverage fuzz-afl fuzz-memory fuzz-threads fuzz-32 fuzz-explore fuzz-times fuzz-seeds
fuzz-list:
	@$(FUZZ) list
fuzz-smoke:
	@$(FUZZ) smoke
fuzz-campaign:
	@$(FUZZ) campaign
fuzz-replay:
	@$(FUZZ) replay
fuzz-one:
	@$(FUZZ) one
fuzz-minimise:
	@$(FUZZ) minimise
fuzz-merge:
	@$(FUZZ) merge
fuzz-pack:
	@$(FUZZ) pack
fuzz-coverage:
	@$(FUZZ) coverage
fuzz-afl:
	@$(FUZZ) afl
fuzz-memory:
	@$(FUZZ) memory
fuzz-threads:
	@$(FUZZ) threads
fuzz-32:
	@$(FUZZ) 32
fuzz-explore:
	@$(FUZZ) explore
fuzz-times:
	@$(FUZZ) times
fuzz-seeds:
	@$(FUZZ) seeds

# Do the tests and the fuzzers notice faults? A sample takes minutes, all of it hours;
# MUTATE= has options for fuzz/mutate/mutate.py.
MUTANTS = @$(PYTHON3) -c '' 2>/dev/null || { echo "$@ needs Python 3 ($(PYTHON3))"; exit 77; }; \
	CC='$(CC)' CLANG='$(CLANG)' $(PYTHON3) $(srcdir)/fuzz/mutate/mutate.py --work mutants
.PHONY: mutate mutate-sample
mutate:
	$(MUTANTS) --resume $(MUTATE)
mutate-sample:
	$(MUTANTS) --sample 24 --seconds 10 $(MUTATE)
