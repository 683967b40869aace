"""The verbs of the command line; each checks its input before it imports jax."""
