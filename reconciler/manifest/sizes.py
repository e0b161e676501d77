"""Amounts of memory and disk as people write them: `512M`, `2G`."""

from __future__ import annotations

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
AUTO = "auto"


def size(text: str) -> int | None:
    """Bytes; None for `auto`. Raises ValueError for anything else.

    >>> size("2G"), size("0M"), size("auto")
    (2147483648, 0, None)
    """
    if text == AUTO:
        return None
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal()) or unit not in UNITS:
        raise ValueError("allowed: a whole number with its unit, such as 512M or 2G, or auto")
    return int(number) * UNITS[unit]


def written(size: int | None) -> str:
    """The shortest text from which `size` makes this again.

    >>> written(2147483648), written(0), written(None)
    ('2G', '0K', 'auto')
    """
    if size is None:
        return AUTO
    unit = next(unit for unit in ("T", "G", "M", "K") if size % UNITS[unit] == 0 and (size or unit == "K"))
    return f"{size // UNITS[unit]}{unit}"
