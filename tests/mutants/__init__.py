"""Planted bugs, each of which the quick tests of one file must catch: ``make mutants``."""
