"""Checks of the nested objects in PortSIP's request bodies.

Source: the OpenAPI document of 22.2: office hours, and the parameters that map SIP headers.
"""

from __future__ import annotations

from typing import Any

from .bodies import Check, anything, flag, one_of, text
from .http import invalid

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PARTS = ("DISPLAY_NAME", "USER_PART")
_INBOUND_VALUES = (
    "REQUEST_LINE_URI_USER_PART",
    "CONTACT_USER_PART",
    *(
        f"{header}_{part}"
        for header in (
            "TO",
            "FROM",
            "REMOTE_PARTY_ID_CALLED_PARTY",
            "REMOTE_PARTY_ID_CALLING_PARTY",
            "P_ASSERTED_IDENTITY",
            "P_PREFERRED_IDENTIFY",
            "P_CALLED_PARTY_ID",
        )
        for part in _PARTS
    ),
    "DEFAULT",
)
_NAME_VALUES = (
    "AUTH_ID",
    "CALLER_NUM",
    "CALLED_NUM",
    "CALLER_DISPLAY_NAME",
    "OUTBOUND_CALLER_ID",
    "ORIGINATOR_CALLER_ID",
    "OUTBOUND_CALLER_ID_AND_ORIGINATOR_CALLER_ID",
    "ANONYMOUS",
    "DEFAULT",
    "CUSTOM",
)
_HOST_VALUES = ("TRUNK_HOST_PORT", "OUT_HOST_PORT", "CONTACT_URI", "SIP_DOMAIN", "DEFAULT", "CUSTOM")
_PRIVACY = one_of("DEFAULT", "NONE", "ID", "USER", "HEADER", "SESSION")


def checked_object(name: str, value: Any, fields: dict[str, Check]) -> None:
    """Check an object's known fields; null counts as not sent, unknown fields pass."""
    anything(name, value)
    for field, content in value.items():
        if field in fields and content is not None:
            fields[field](f"{name}.{field}", content)


def of(fields: dict[str, Check]) -> Check:
    """Return a check for an object with these fields."""

    def check(name: str, value: Any) -> None:
        checked_object(name, value, fields)

    return check


def _list_of(inner: Check) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, list):
            raise invalid(f"{name} must be a list.")
        for item in value:
            inner(name, item)

    return check


_RANGES = _list_of(of({"from": text(), "to": text()}))
_DAY = of({"enabled": flag, "ranges": _RANGES})
office_hours = of({"mode": one_of("GLOBAL", "CUSTOM")} | dict.fromkeys(_DAYS, _DAY))

_VALUE = one_of(*_INBOUND_VALUES)
inbound_parameters = of(
    {
        "caller_num": _VALUE,
        "caller_display_name": _VALUE,
        "called_num": _VALUE,
        "privacy_types_supported": _PRIVACY,
        "enable_stir_shaken_validation": flag,
        "pai_header_parameter_name": text(),
        "drop_calls_with_verification_status": _list_of(text()),
        "pass_api_header_to_uad": flag,
    }
)


def outbound_parameters(name: str, value: Any) -> None:
    """Check how outbound SIP headers are filled: each part has a ``value`` and a ``custom_value``."""
    anything(name, value)
    for field, content in value.items():
        if field == "privacy_types_supported":
            _PRIVACY(f"{name}.{field}", content)
        elif field.endswith(("_user_part", "_display_name")):
            checked_object(
                f"{name}.{field}", content, {"value": one_of(*_NAME_VALUES), "custom_value": text()}
            )
        elif field.endswith("_host_part"):
            checked_object(
                f"{name}.{field}", content, {"value": one_of(*_HOST_VALUES), "custom_value": text()}
            )


_E164_TEXTS = ("international_code", "country", "area_code", "national_code", "prefix")
_E164_FLAGS = ("enabled", "remove_special_chars", "remove_duplicate_countries", "remove_duplicate_area_codes")
e164 = of(dict.fromkeys(_E164_TEXTS, text()) | dict.fromkeys(_E164_FLAGS, flag))
