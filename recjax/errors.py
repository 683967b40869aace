"""The exception that every bad file raises."""


class FormatError(ValueError):
    """A file is no `.rec` file, is damaged, or needs a newer release or another prior.

    >>> issubclass(FormatError, ValueError)
    True
    """
