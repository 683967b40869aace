"""Integers to bits: the range coder, the Zipf code of indices, Elias codes, and paths in trees."""
