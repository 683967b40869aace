"""Coders of blocks of many Gaussian dimensions at once."""
