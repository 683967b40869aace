"""Coders of Gaussian blocks: independent blocks, chains of blocks, and their decoded samples."""
