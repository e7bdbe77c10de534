"""Level *derivatives*."""
