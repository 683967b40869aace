"""Searches through candidates: the loops that coders share, and their parts."""
