# SPDX-License-Identifier: MIT-0
EXTRA_DIST += proofs/README.md proofs/aliases.c proofs/check.c proofs/corners.c proofs/faults.txt proofs/layout.c \
    proofs/pages.c proofs/proof.h proofs/reach.c proofs/run.sh proofs/state.c

# what Frama-C proves, and what is run through, in minutes; and whether they notice faults
.PHONY: proofs proofs-broken
proofs:
	@CC='$(CC)' FRAMAC='$(FRAMAC)' $(SHELL) $(srcdir)/proofs/run.sh
proofs-broken:
	@CC='$(CC)' FRAMAC='$(FRAMAC)' $(SHELL) $(srcdir)/proofs/run.sh --broken
