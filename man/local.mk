# SPDX-License-Identifier: MIT-0
# Generated: attention(3) from the manual in attention.h, attn(1) from the help texts of attn.
MAN = LC_ALL=C $(AWK) -v version='$(VERSION)' -v changelog='$(srcdir)/CHANGELOG.md'

nodist_man_MANS = man/attention.3 man/attn.1
CLEANFILES += $(nodist_man_MANS)
EXTRA_DIST += man/attention.3.awk man/attn.1.awk man/roff.awk

man/attention.3: $(srcdir)/attention.h $(srcdir)/CHANGELOG.md $(srcdir)/man/attention.3.awk $(srcdir)/man/roff.awk
	$(AM_V_GEN)$(MKDIR_P) man && $(MAN) -f $(srcdir)/man/roff.awk -f $(srcdir)/man/attention.3.awk $(srcdir)/attention.h >$@.new && mv $@.new $@
man/attn.1: $(attn_SOURCES) $(srcdir)/CHANGELOG.md $(srcdir)/man/attn.1.awk $(srcdir)/man/roff.awk
	$(AM_V_GEN)$(MKDIR_P) man && $(MAN) -f $(srcdir)/man/roff.awk -f $(srcdir)/man/attn.1.awk $(srcdir)/tools/tool.h $(srcdir)/tools/*.c >$@.new && mv $@.new $@
