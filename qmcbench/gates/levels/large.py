"""Level *large*."""
