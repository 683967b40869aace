"""The exception that every bad file raises."""


class FormatError(ValueError):
    """A file that is not a ``.rec`` file, is damaged, or needs a newer release or another prior.

    >>> issubclass(FormatError, ValueError)
    True
    """
