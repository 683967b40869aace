"""Searches through candidates that the coders share."""
