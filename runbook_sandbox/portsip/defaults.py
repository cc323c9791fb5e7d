"""The fields of PortSIP's resources with the API's own defaults.

Source: the OpenAPI document of 22.2. Three of a trunk's defaults differ from what the web portal
presets: ``verify_port``, ``rewrite_via_ip`` and ``keep_alive`` are true here.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ..store import StoredRow

#: Fields of a trunk that have a default; the others are required, write-only or computed.
PROVIDER: StoredRow = {
    "enabled": True,
    "auth_id": "",
    "username": "",
    "registration": True,
    "register_interval": 600,
    "inlan": False,
    "single_via_header": True,
    "rewrite_via_ip": True,
    "verify_port": True,
    "keep_alive": True,
    "keep_alive_interval": 360,
    "additional_ips": "",
    "adjust_sdp_direction": True,
    "remove_srtp_info": True,
    "stir_shaken_signature_required": False,
    "did_numbers": "",
}

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEK: StoredRow = {
    day: {"enabled": day not in ("saturday", "sunday"), "ranges": [{"from": "09:00", "to": "17:00"}]}
    for day in _DAYS
}
#: Answered with every rule, also where the tenant's hours count (mode GLOBAL).
RULE_HOURS: StoredRow = {"mode": "GLOBAL"} | _WEEK

#: Answered with every trunk: from which part of a SIP message the PBX takes what.
INBOUND_PARAMETERS: StoredRow = {
    "caller_num": "DEFAULT",
    "caller_display_name": "DEFAULT",
    "called_num": "DEFAULT",
    "privacy_types_supported": "DEFAULT",
    "enable_stir_shaken_validation": False,
    "pai_header_parameter_name": "verstat",
    "drop_calls_with_verification_status": [],
    "pass_api_header_to_uad": False,
}
_NAMED_HEADERS = (
    "to",
    "from",
    "remote_party_id_called_party",
    "remote_party_id_calling_party",
    "p_asserted_identity",
    "p_preferred_identify",
    "p_called_party_id",
)
_HEADER_PARTS = (
    *(
        f"{header}_{part}"
        for header in ("request_line_uri", "contact")
        for part in ("user_part", "host_part")
    ),
    *(f"{header}_{part}" for header in _NAMED_HEADERS for part in ("display_name", "user_part", "host_part")),
)
#: Answered with every trunk: what the PBX writes into each part of a SIP message.
OUTBOUND_PARAMETERS: StoredRow = {
    **{part: {"value": "DEFAULT", "custom_value": ""} for part in _HEADER_PARTS},
    "privacy_types_supported": "DEFAULT",
}

INBOUND_RULE: StoredRow = {
    "enabled": True,
    "cid_number_mask": "",
    "office_hours_forward_rule": {},
    "non_office_hours_forward_rule": {},
    "holiday_forward_rule": {},
    "office_hours": RULE_HOURS,
    "holidays": [],
    "enable_advanced_routing": False,
    "advanced_routing": "",
    "play_recording_disclaimer": False,
}

OUTBOUND_RULE: StoredRow = {
    "number_prefix": "",
    "number_length": "",
    "number_mask": "",
    "enabled": True,
    "priority": 1000,
    "office_hours": RULE_HOURS,
    "holidays": [],
    "routing_strategy": "PRIORITIZED",
    "routes": [],
}

TENANT: StoredRow = {
    "website": "",
    "enabled": True,
    "enable_video_recording": False,
    "enable_audio_recording": False,
    "enable_dual_track_recording": False,
    "enable_billing": False,
    "enable_feature_billing": False,
    "enable_feature_call_statistics": True,
    "enable_feature_contact_center": True,
    "enable_feature_message_channels": True,
    "enable_feature_microsoft_teams": True,
    "enable_feature_trunks": True,
    "enable_feature_whats_app": True,
    "enable_night_mode": False,
    "enable_two_factor_authentication": False,
    "custom_options": "",
    "max_extensions": 1000,
    "max_concurrent_calls": 20,
    "max_ring_groups": 20,
    "max_virtual_receptionists": 20,
    "max_call_queues": 20,
    "max_conference_rooms": 20,
    "disk_quota": "",
    "im_disk_quota": "",
    "extension_im_disk_quota": "1GB",
    "recording_retention": 180,
    "call_report_retention": 30,
    "log_retention": 180,
    "temp_file_retention": 30,
    "contact_match_type": "MATCH_EXACTLY",
    "contact_match_length": 0,
    "contact_append_type": "APPEND",
    "contact_update_interval": 720,
    "email_recipients": "",
    "password_force_reset": False,
}


def provider(**fields: Any) -> StoredRow:
    """Return a trunk as it is kept: API defaults, then ``fields``.

    ``peer_answers`` says whether the far end answers REGISTER and OPTIONS; ``None`` leaves it to the
    hostname.
    """
    kept = {
        "brand": "",
        "auth_mode": "",
        "outbound_server": "",
        "outbound_server_port": 0,
        "peer_answers": None,
        "password_sha256": None,
    }
    return fresh(PROVIDER) | kept | fields


def inbound_rule(**fields: Any) -> StoredRow:
    """Return an inbound rule as it is kept."""
    return fresh(INBOUND_RULE) | fields


def outbound_rule(**fields: Any) -> StoredRow:
    """Return an outbound rule as it is kept."""
    return fresh(OUTBOUND_RULE) | fields


def tenant(**fields: Any) -> StoredRow:
    """Return a tenant as it is kept."""
    e164 = {
        "enabled": False,
        "international_code": "",
        "country": "",
        "area_code": "",
        "national_code": "",
        "prefix": "",
        "remove_special_chars": False,
        "remove_duplicate_countries": True,
        "remove_duplicate_area_codes": True,
    }
    return TENANT | {"office_hours": fresh(_WEEK), "outbound_caller_ids": [], "e164": e164} | fields


def fresh(defaults: StoredRow) -> StoredRow:
    """Return defaults whose lists and objects are nobody else's."""
    return deepcopy(defaults)
