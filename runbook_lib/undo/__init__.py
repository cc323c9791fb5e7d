"""Undoing what a record did, and retiring a tenant. Nothing below imports this package."""

from __future__ import annotations

from ..sections import Section
from .retire import Retire
from .roll_back import RollBack

UNDO_CLASSES: dict[str, type[Section]] = {one.number: one for one in (RollBack, Retire)}

__all__ = ["UNDO_CLASSES"]
