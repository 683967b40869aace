"""Training of any kind of prior: the loop, its checkpoints and its data."""
