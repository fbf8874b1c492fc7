# SPDX-License-Identifier: MIT-0
# Generated: attention(3) from the manual in attention.h, attn(1) from the help texts of attn, attn-mpi(1) from that of
# attn-mpi. MPI_PAGE is the last one, or nothing.
MAN = LC_ALL=C $(AWK) -v version='$(VERSION)' -v changelog='$(srcdir)/CHANGELOG.md'

nodist_man_MANS = man/attention.3 man/attn.1 $(MPI_PAGE)
CLEANFILES += man/attention.3 man/attn.1 man/attn-mpi.1
EXTRA_DIST += man/attention.3.awk man/attn-mpi.1.awk man/attn.1.awk man/help.awk man/roff.awk

man/attention.3: $(srcdir)/attention.h $(srcdir)/CHANGELOG.md $(srcdir)/man/attention.3.awk $(srcdir)/man/roff.awk
	$(AM_V_GEN)$(MKDIR_P) man && $(MAN) -f $(srcdir)/man/roff.awk -f $(srcdir)/man/attention.3.awk $(srcdir)/attention.h >$@.new && mv $@.new $@
man/attn.1: $(attn_SOURCES) $(srcdir)/CHANGELOG.md $(srcdir)/man/attn.1.awk $(srcdir)/man/help.awk $(srcdir)/man/roff.awk
	$(AM_V_GEN)$(MKDIR_P) man && $(MAN) -f $(srcdir)/man/roff.awk -f $(srcdir)/man/help.awk -f $(srcdir)/man/attn.1.awk $(srcdir)/tools/tool.h $(srcdir)/tools/*.c >$@.new && mv $@.new $@
man/attn-mpi.1: $(srcdir)/tools/mpi/attn_mpi.c $(srcdir)/tools/tool.h $(srcdir)/CHANGELOG.md $(srcdir)/man/attn-mpi.1.awk $(srcdir)/man/help.awk $(srcdir)/man/roff.awk
	$(AM_V_GEN)$(MKDIR_P) man && $(MAN) -f $(srcdir)/man/roff.awk -f $(srcdir)/man/help.awk -f $(srcdir)/man/attn-mpi.1.awk $(srcdir)/tools/tool.h $(srcdir)/tools/mpi/attn_mpi.c >$@.new && mv $@.new $@
