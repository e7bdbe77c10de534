"""Level *ground_state*."""
