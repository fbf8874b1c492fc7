# SPDX-License-Identifier: MIT-0
# the library that draws, for other programs, too
picture_sources = \
	tools/canvas.c \
	tools/canvas.h \
	tools/picture.c \
	tools/picture.h \
	tools/utf8.c \
	tools/utf8.h

bin_PROGRAMS += attn
attn_SOURCES = \
	$(picture_sources) \
	tools/arrays.c \
	tools/attn.c \
	tools/files.c \
	tools/hash.c \
	tools/heatmap.c \
	tools/info.c \
	tools/layer.c \
	tools/npy.c \
	tools/npy.h \
	tools/options.c \
	tools/report.c \
	tools/run.c \
	tools/sdpa.c \
	tools/sentence.c \
	tools/steps.c \
	tools/tool.h \
	check/allocation.h \
	check/hash_cases.h \
	check/implementation.c \
	check/progress.c \
	check/progress.h
attn_LDADD = $(PNG_LIBS)

# attn-mpi: the objects of attn but for its commands, linked by the compiler of MPI. MPI_PROGRAM is that, or nothing.
EXTRA_SCRIPTS = attn-mpi
bin_SCRIPTS = $(MPI_PROGRAM)
CLEANFILES += $(MPI_PROGRAM)
EXTRA_DIST += tools/mpi/attn_mpi.c
attn-mpi: tools/mpi/attn_mpi.c attention.h attention_mpi.h $(attn_OBJECTS)
	$(AM_V_CCLD)objects=`echo ' $(attn_OBJECTS)' | sed 's| tools/attn\.[a-z]*||'` && \
		OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPICC) -I$(top_srcdir) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) $(LDFLAGS) \
		$(srcdir)/tools/mpi/attn_mpi.c $$objects -o $@.new $(attn_LDADD) $(LIBS) && mv $@.new $@

# those that README.md shows
pictures: attn$(EXEEXT)
	ATTN='$(LOG_COMPILER) ./attn$(EXEEXT)' $(SHELL) $(srcdir)/doc/pictures.sh $(srcdir)/doc
.PHONY: pictures
