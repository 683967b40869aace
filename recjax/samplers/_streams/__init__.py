"""Codes of indices, one file per form of index, and the strings that they make together."""
