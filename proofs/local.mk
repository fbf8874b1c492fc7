# SPDX-License-Identifier: MIT-0
EXTRA_DIST += proofs/README.md proofs/check.c proofs/pages.c proofs/proof.h proofs/run.sh proofs/state.c

# what CBMC proves, in minutes
.PHONY: proofs
proofs:
	@CBMC='$(CBMC)' $(SHELL) $(srcdir)/proofs/run.sh
