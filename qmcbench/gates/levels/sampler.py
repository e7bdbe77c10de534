"""Level *sampler*."""
