"""Level *samples*."""
