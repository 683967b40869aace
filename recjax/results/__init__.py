"""Results files, their plots and rate curves."""
