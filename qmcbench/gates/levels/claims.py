"""Level *claims*."""
