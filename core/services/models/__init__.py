"""Model versions: manual changes, provenance, and which files are kept. Out of scope: training, which the loop does."""
