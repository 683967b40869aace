"""Benchmarks: the speed of the library and of alternatives, measured in one run."""
