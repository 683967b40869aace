"""Results of experiments: files, plots, and rate-distortion curves."""
