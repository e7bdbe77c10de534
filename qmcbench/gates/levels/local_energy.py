"""Level *local_energy*."""
