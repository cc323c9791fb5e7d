"""Finding the Twilio trunk that the parameters describe, by the names that people know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import no_longer_exists
from ..meaning import meaning, same_name
from ..vendors.twilio import Twilio
from .regions import lists_numbers_of_a_trunk


@dataclass(frozen=True)
class FoundTrunk:
    """All trunks of the account and the one that is ours (``None``: not made yet).

    ``conflict`` says why none can be chosen, if so.
    """

    all: tuple[Any, ...]
    trunk: Any | None
    conflict: str = ""


class TwilioTrunkResource:
    """A trunk by its domain name; a trunk of the same friendly name without a domain is adopted."""

    def __init__(self, twilio: Twilio, domain: str, friendly_name: str) -> None:
        self._twilio = twilio
        self._domain = domain
        self._friendly_name = friendly_name

    def look(self) -> FoundTrunk:
        """Read the account's trunks (at most 100: Twilio's limit) and choose."""
        trunks = tuple(self._twilio.all_trunks())
        ours = [trunk for trunk in trunks if meaning("domain_name", trunk.domain_name) == self._domain]
        if len(ours) > 1:
            return FoundTrunk(trunks, None, f"{len(ours)} trunks have the termination URI {self._domain}")
        if ours:
            return FoundTrunk(trunks, ours[0])
        namesakes = [trunk for trunk in trunks if same_name(trunk.friendly_name, self._friendly_name)]
        elsewhere = [trunk.domain_name for trunk in namesakes if trunk.domain_name]
        if elsewhere:
            return FoundTrunk(
                trunks,
                None,
                f"a trunk with this friendly name has the termination URI {elsewhere[0]};"
                " choose another friendly name, or use that termination URI",
            )
        if len(namesakes) > 1:
            return FoundTrunk(
                trunks, None, f"{len(namesakes)} trunks of this friendly name have no termination URI yet"
            )
        return FoundTrunk(trunks, namesakes[0] if namesakes else None)

    def find(self) -> Any | None:
        """Read the trunk; ``None`` if there is none yet, or more than one candidate."""
        return self.look().trunk

    def must_find(self) -> Any:
        """Read the trunk for a write that needs it; raises ``VerificationError`` if it is gone."""
        trunk = self.find()
        if trunk is None:
            raise no_longer_exists(f"the Twilio trunk {self._domain}", "1.1")
        return trunk


def numbers_on(twilio: Twilio, trunk_sid: str) -> list[Any]:
    """Return the numbers on a trunk; from the account's where those are read anyway.

    So too where the Region cannot list a trunk's.
    """
    if lists_numbers_of_a_trunk(twilio.region) and not twilio.reads_whole:
        return list(twilio.trunks(trunk_sid).phone_numbers.list())
    return twilio.numbers_by_trunk().get(trunk_sid, [])
