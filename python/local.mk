# SPDX-License-Identifier: MIT-0
# python/attention.py loads a shared object that lies beside it. SHARED_OBJECT is that, or nothing where configure
# found that none can be built. Building it takes no Python; to install both, there is pip.
noinst_DATA = $(SHARED_OBJECT)
CLEANFILES += $(SHARED_OBJECT)
EXTRA_DIST += \
	MANIFEST.in \
	pyproject.toml \
	python/_attention.c \
	python/attention.py \
	setup.py

shared_c = \
	$(srcdir)/python/_attention.c \
	$(srcdir)/tools/canvas.c \
	$(srcdir)/tools/picture.c \
	$(srcdir)/tools/utf8.c
shared_h = \
	$(srcdir)/attention.h \
	$(srcdir)/examples/pthread_parallel_for.h \
	$(srcdir)/tools/canvas.h \
	$(srcdir)/tools/picture.h \
	$(srcdir)/tools/utf8.h
python/_attention.so: $(shared_c) $(shared_h)
	$(AM_V_CCLD)$(MKDIR_P) python && $(CC) -I$(top_srcdir) $(PNG_CPPFLAGS) $(CPPFLAGS) $(WARNING_CFLAGS) $(CFLAGS) $(LDFLAGS) \
		$(SHARED_CFLAGS) $(shared_c) -o $@.new $(PNG_LIBS) $(LIBS) && mv $@.new $@
