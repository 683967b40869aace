"""Examples of what relative entropy coding is for: each a page of the documentation and a picture."""
