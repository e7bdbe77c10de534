"""Level *reproducibility*."""
