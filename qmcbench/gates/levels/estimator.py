"""Level *estimator*."""
