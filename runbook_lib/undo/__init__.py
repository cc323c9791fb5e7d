"""The way back: taking back what a record did, and retiring a tenant. Nothing below knows of it."""

from __future__ import annotations

from ..sections import Section
from .retire import Retire
from .roll_back import RollBack

UNDO_CLASSES: dict[str, type[Section]] = {one.number: one for one in (RollBack, Retire)}

__all__ = ["UNDO_CLASSES"]
