"""Integers to bits: the Zipf code of indices, range coding, and the ``.rec`` container."""
