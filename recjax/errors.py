"""The exception of bad files, the warning of a target that was not met, and a check of integers."""

import numbers
from typing import Any


class FormatError(ValueError):
    """A file is no `.rec` file, is damaged, or needs a newer release or another prior.

    >>> issubclass(FormatError, ValueError)
    True
    """


class TargetWarning(UserWarning):
    """A file could not be made as large or as good as was asked for; the nearest one was made."""


def check_range(name: str, value: Any, low: int, high: int) -> None:
    """Raises a ValueError unless ``value`` is a whole number between the bounds.

    >>> check_range("effort", 5, 1, 9)
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not low <= int(value) <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
