"""The guide's sections and steps, by the ids that plans, records and tests use.

The source is PortSIP's guide "Configuring Twilio Register Based Trunk"; the wording is our own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuideSection:
    """A section of the guide: ``number`` (``"02"``), ``title``, file name of its notebook without suffix."""

    number: str
    title: str
    notebook: str


SECTIONS = {
    section.number: section
    for section in (
        GuideSection("00", "Before you begin", "00_before_you_begin"),
        GuideSection("01", "Create a SIP trunk on Twilio", "01_create_sip_trunk"),
        GuideSection("02", "Trunk termination", "02_trunk_termination"),
        GuideSection("03", "Trunk origination", "03_trunk_origination"),
        GuideSection("04", "Assign DID numbers to the trunk", "04_assign_did_numbers"),
        GuideSection("05", "The register-based trunk in PortSIP PBX", "05_pbx_trunk"),
        GuideSection("06", "Next steps: call rules", "06_next_steps"),
        # Undoing changes is not part of the guide.
        GuideSection("90", "Roll back a change record", "90_roll_back"),
        GuideSection("91", "Retire a tenant", "91_retire_tenant"),
    )
}

#: What section 5 of the guide names; tables show it before the options that stay at the portal's defaults.
NAMED = frozenset(
    {"kind of trunk", "name", "brand", "DID pool", "hostname", "authentication name"}
    | {"password at Twilio", "password at the PBX", "need registration", "max concurrent calls"}
)
#: The order in which a whole tenant is worked through: numbers are pointed at the trunk (04) only
#: after the PBX can accept their calls (05) and knows which extension they ring (06), so that a number
#: that works today is not cut off.
RUN_ORDER = ("00", "01", "02", "03", "05", "06", "04")

#: The same for a shared trunk on its own, without a tenant.
TRUNK_ORDER = ("01", "02", "03", "05")

ROLL_BACK, RETIRE = "90", "91"

#: Used instead of a section's number where all of a tenant's sections are meant.
WHOLE = "tenant"

#: The section that has nothing to apply.
READS_ONLY = "00"

STEPS = {
    "0.1": "At least one DID is owned by the Twilio account",
    "0.2": "The PBX has a static public IP address or FQDN",
    "1.1": "Create an Elastic SIP Trunk",
    "1.2": "Leave the General settings unchanged",
    "2.1": "Choose a unique Termination SIP URI",
    "2.2": "IP access control list",
    "2.3": "Credential list",
    "3.1": "Primary origination URI",
    "3.2": "Secondary origination URI",
    "3.E": "Expected result of section 3",
    "4.1": "Point each number at the SIP trunk",
    "5.1": "Add a register-based trunk",
    "5.2": "Name, brand, DID pool and hostname",
    "5.3": "Authentication name and password",
    "5.4": "Registration off, concurrent calls, presets",
    "5.5": "Assign the trunk to tenants",
    "5.E": "Expected result of section 5",
    "6.1": "Outbound rule",
    "6.2": "Inbound rule",
}

#: Steps that are the tenant's own also where the trunk is shared.
TENANTS_STEPS = frozenset({"4.1", "5.5", "6.1", "6.2"})


def section_of(step: str) -> GuideSection:
    """Return the section that a step id belongs to; ``KeyError`` for an unknown id."""
    if step not in STEPS:
        raise KeyError(step)
    return SECTIONS[f"0{step[0]}"]


def steps_of(number: str) -> str:
    """Return a section's steps in words, ``"2.1 to 2.3"``; its number if it is not in the guide."""
    steps = [step for step in STEPS if section_of(step).number == number and not step.endswith("E")]
    return f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else next(iter(steps), number)
