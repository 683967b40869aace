"""Speed of the library, measured beside alternatives in one run."""
