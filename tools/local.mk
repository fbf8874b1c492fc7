# SPDX-License-Identifier: MIT-0
bin_PROGRAMS += attn
attn_SOURCES = \
	tools/arrays.c \
	tools/attn.c \
	tools/canvas.c \
	tools/canvas.h \
	tools/files.c \
	tools/hash.c \
	tools/heatmap.c \
	tools/info.c \
	tools/layer.c \
	tools/npy.c \
	tools/npy.h \
	tools/options.c \
	tools/picture.c \
	tools/picture.h \
	tools/png.c \
	tools/report.c \
	tools/run.c \
	tools/sdpa.c \
	tools/sentence.c \
	tools/steps.c \
	tools/tool.h \
	tools/utf8.c \
	tools/utf8.h \
	check/allocation.h \
	check/hash_cases.h \
	check/implementation.c
attn_LDADD =

# those that README.md shows
pictures: attn$(EXEEXT)
	ATTN='$(LOG_COMPILER) ./attn$(EXEEXT)' $(SHELL) $(srcdir)/doc/pictures.sh $(srcdir)/doc
.PHONY: pictures
