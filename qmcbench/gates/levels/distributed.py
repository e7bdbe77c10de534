"""Level *distributed*."""
