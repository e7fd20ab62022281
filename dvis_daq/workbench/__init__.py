"""Many trainings as one experiment: runs, tables, the paper's ablations, manifests."""
