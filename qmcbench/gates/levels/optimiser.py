"""Level *optimiser*."""
