"""The asv suite; its workloads and sizes are those of :mod:`qmcbench.bench.suite`."""
