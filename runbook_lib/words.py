"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, such as ``1 row``; ``many`` is ``one`` with an s, if not given."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
