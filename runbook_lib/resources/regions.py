"""Twilio's Regions: which one serves a call, and what its API lacks outside the United States.

A Region has its own trunks, lists and API keys. A call from the telephone network is served by the Region
of the number that was dialled. Source: Twilio, "Regional SIP trunks".
"""

from __future__ import annotations

HOME = "us1"
NOT_KNOWN = "not known"
#: Twilio's page about what a Region does not have yet.
AVAILABILITY = "https://www.twilio.com/docs/global-infrastructure/regional-product-and-feature-availability"


def lists_numbers_of_a_trunk(region: str) -> bool:
    """Whether the API of a Region has the numbers of a trunk (``/v1/Trunks/…/PhoneNumbers``).

    Ireland does not have it; the other Regions are treated alike. There the account's numbers say what
    trunk they are on.
    """
    return region == HOME


def why_not_assigned(region: str) -> str:
    """Return why numbers cannot be assigned or removed in a Region; empty if they can."""
    if lists_numbers_of_a_trunk(region):
        return ""
    return (
        f"in Region {region} the runbook does not assign numbers: Twilio's API for a trunk's numbers is"
        f" not available in every Region ({AVAILABILITY}). Assign the number in Twilio's console"
        f" and route it to {region}; then plan again"
    )


def is_served_elsewhere(region: str | None, here: str) -> bool:
    """Whether Routes names another Region than the one where the site makes trunks.

    ``region`` is empty where none is set, which is Twilio's default, and ``None`` if it is not known.
    """
    return region is not None and (region or HOME) != here


def describe_region(region: str | None, here: str) -> str:
    """Say which Region serves calls, compared with the one where the site makes trunks."""
    if region is None:
        return f"{NOT_KNOWN}: these credentials cannot read it"
    named = region or "none set: Twilio's default"
    if not is_served_elsewhere(region, here):
        return named
    return f"{named}, not {here}, the site's Region: calls do not reach trunks created there"
