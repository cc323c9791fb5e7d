"""What judging a dial plan can find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What a finding is about."""

    TIE = "tie"
    EMERGENCY_TAKEN = "emergency taken"
    NOT_E164 = "not E.164"
    WRONG_NUMBER = "wrong number"
    NO_RULE = "no rule"
    NO_SERVICE = "no emergency service"
    TOLL_FREE_CALLER = "toll-free caller id"
    PLUS_TAKEN = "plus taken"
    E164_COUNTRY = "E.164 country"
    LONE_PLUS = "lone plus"
    NOT_VALID = "not valid"
    TIME_ZONE = "time zone"
    UNREADABLE = "unreadable"
    UNDOCUMENTED = "undocumented"
    EXAMPLE = "example"
    NO_COUNTRY = "no country"


@dataclass(frozen=True)
class Finding:
    """One finding: what it is, the rules that it concerns, a dialled string as an example, and the cure."""

    trouble: Trouble
    what: str
    cure: str
    rules: tuple[str, ...] = ()
    example: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.cure}."
