"""Few different sizes, so that few programs are compiled."""


def round_up(n: int, least: int) -> int:
    """The next of ``least`` times 1, 3/2, 2, 3, 4, 6, 8, ...; ``least`` is an even number.

    >>> [round_up(n, 64) for n in (1, 64, 65, 97)]
    [64, 64, 96, 128]
    """
    size, power = least, least
    while size < n:
        size, power = (power * 3 // 2, power) if size == power else (2 * power, 2 * power)
    return size
