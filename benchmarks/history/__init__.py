"""The asv benchmarks of the history: one file, older than none of the commits, whose package asv puts before it."""
