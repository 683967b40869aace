"""Bayesian implicit neural representations: COMBINER and RECOMBINER."""
