"""The exception that every bad file raises, and the warning of a target that was not met."""


class FormatError(ValueError):
    """A file is no `.rec` file, is damaged, or needs a newer release or another prior.

    >>> issubclass(FormatError, ValueError)
    True
    """


class TargetWarning(UserWarning):
    """A file could not be made as large or as good as was asked for; the nearest one was made."""
