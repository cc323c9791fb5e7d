"""The guide's sections, one module each, on a common base."""

from __future__ import annotations

from .base import Section
from .items import Item, Outcome, Verification, View
from .s00_before import BeforeYouBegin
from .s01_trunk import CreateTrunk
from .s02_termination import TerminationSection
from .s03_origination import OriginationSection
from .s04_numbers import AssignNumbers
from .s05_pbx_trunk import PbxTrunkSection
from .s06_next_steps import NextSteps

SECTION_CLASSES: dict[str, type[Section]] = {
    one.number: one
    for one in (
        BeforeYouBegin,
        CreateTrunk,
        TerminationSection,
        OriginationSection,
        AssignNumbers,
        PbxTrunkSection,
        NextSteps,
    )
}

__all__ = ["SECTION_CLASSES", "Item", "Outcome", "Section", "Verification", "View"]
