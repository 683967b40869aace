"""Range-coded strings of indices, one file per form of index."""
