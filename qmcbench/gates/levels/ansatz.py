"""Level *ansatz*."""
