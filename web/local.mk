# SPDX-License-Identifier: MIT-0
# The page, one file: the part of attn in web/attention.c, compiled to WebAssembly, and the sources beside it. WEB_PAGE
# is nothing where configure found no compiler for it.
EXTRA_DIST += \
	web/attention.c \
	web/build.sh \
	web/page.css \
	web/page.html \
	web/page.js \
	web/worker.js
check_DATA = $(WEB_PAGE)
CLEANFILES += web/attention.html web/attention.wasm

# -Oz: 340 kB, as fast in `attn hash` as -O2, which takes 460. A stack that grows beyond its megabyte meets the end of
# the memory; what needs more than a gigabyte in all is refused.
web_c = \
	check/implementation.c \
	tools/arrays.c \
	tools/canvas.c \
	tools/hash.c \
	tools/heatmap.c \
	tools/npy.c \
	tools/options.c \
	tools/picture.c \
	tools/report.c \
	tools/sentence.c \
	tools/utf8.c \
	web/attention.c
web_h = \
	attention.h \
	check/allocation.h \
	check/hash_cases.h \
	tools/canvas.h \
	tools/npy.h \
	tools/picture.h \
	tools/tool.h \
	tools/utf8.h
web/attention.wasm: $(web_c) $(web_h)
	$(AM_V_CCLD)$(MKDIR_P) web && cd $(srcdir) && $(WASM_CC) -msimd128 -Oz -I. $(WARNING_CFLAGS) -Wl,--strip-all \
		-Wl,-z,stack-size=1048576 -Wl,--stack-first -Wl,--max-memory=1073741824 $(web_c) -o $(abs_builddir)/$@
web/attention.html: web/attention.wasm web/build.sh web/page.css web/page.html web/page.js web/worker.js \
		tests/golden-unfused.txt
	$(AM_V_GEN)srcdir=$(srcdir) $(SHELL) $(srcdir)/web/build.sh web/attention.wasm >$@.new && mv $@.new $@

web: $(WEB_PAGE)
	@test -n '$(WEB_PAGE)' || { echo "$(attn_page)" >&2; exit 1; }
.PHONY: web
