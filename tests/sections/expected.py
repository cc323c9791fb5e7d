"""The state after all sections, written by hand from the guide (steps in the comments)."""

from __future__ import annotations

ACME_TRUNK = {
    "friendly_name": "PortSIP acme",  # 1.1
    "domain_name": "acme-pbx.pstn.twilio.com",  # 2.1
    "secure": False,  # 1.2
    "cnam_lookup_enabled": False,  # 1.2
    "transfer_mode": "disable-all",  # 1.2
    "recording": {"mode": "do-not-record", "trim": "do-not-trim"},  # 1.2
    "auth_type": "IP_ACL,CREDENTIAL_LIST",  # 2.2 and 2.3: both are enforced
    "access_lists": {"acme-pbx PBX addresses": ["203.0.113.10/32"]},  # 2.2
    "credential_lists": {"acme-pbx credentials": ["acme-pbx"]},  # 2.3
    "origination": [
        (10, 10, True, "sip:203.0.113.10;region=us1"),  # 3.1
        (20, 10, True, "sip:203.0.113.10;region=us2"),  # 3.2
    ],
    "numbers": ["+12025550101", "+12025550102", "+12025550103", "+12025550104"],  # 4.1
}

ACME_PBX_TRUNK = {
    "name": "Twilio-Reg-Trunk",  # 5.2
    "enabled": True,
    "brand": "Twilio",  # 5.2
    "auth_mode": "REGISTER_AUTH",  # 5.1
    "transport": "UDP",
    "hostname": "acme-pbx.pstn.twilio.com",  # 5.2: the full value of 2.1
    "port": 5060,
    "outbound_server": "",
    "outbound_server_port": 0,
    "auth_id": "acme-pbx",  # 5.3: the pair of 2.3
    "username": "",
    "registration": False,  # 5.4
    "register_interval": 600,
    "concurrency": 100000,  # 5.4: the portal's preset
    "keep_alive": False,
    "keep_alive_interval": 360,
    "inlan": False,
    "verify_port": False,
    "rewrite_via_ip": False,
    "single_via_header": True,
    "adjust_sdp_direction": True,
    "remove_srtp_info": True,
    "stir_shaken_signature_required": False,
    "additional_ips": (
        "54.172.60.0/30;54.244.51.0/30;54.171.127.192/30;35.156.191.128/30;"
        "54.65.63.192/30;54.169.127.128/30;54.252.254.64/30;177.71.206.192/30"
    ),
    "did_numbers": "12025550101-12025550104",  # 5.2: the guide's grammar
    "inbound_parameters": {  # 5.4: the portal's defaults
        "caller_num": "DEFAULT",
        "caller_display_name": "DEFAULT",
        "called_num": "DEFAULT",
        "privacy_types_supported": "DEFAULT",
        "enable_stir_shaken_validation": False,
        "pai_header_parameter_name": "verstat",
        "drop_calls_with_verification_status": [],
        "pass_api_header_to_uad": False,
    },
    "outbound_parameters": {  # 5.4: the portal's defaults
        "privacy_types_supported": "DEFAULT",
        **{
            part: {"value": "DEFAULT", "custom_value": ""}
            for part in [
                "request_line_uri_user_part",
                "request_line_uri_host_part",
                "contact_user_part",
                "contact_host_part",
                "to_display_name",
                "to_user_part",
                "to_host_part",
                "from_display_name",
                "from_user_part",
                "from_host_part",
                "remote_party_id_called_party_display_name",
                "remote_party_id_called_party_user_part",
                "remote_party_id_called_party_host_part",
                "remote_party_id_calling_party_display_name",
                "remote_party_id_calling_party_user_part",
                "remote_party_id_calling_party_host_part",
                "p_asserted_identity_display_name",
                "p_asserted_identity_user_part",
                "p_asserted_identity_host_part",
                "p_preferred_identify_display_name",
                "p_preferred_identify_user_part",
                "p_preferred_identify_host_part",
                "p_called_party_id_display_name",
                "p_called_party_id_user_part",
                "p_called_party_id_host_part",
            ]
        },
    },
    "shared": False,
    "status": "ONLINE",  # 5.E
}

#: Each field of the PBX trunk at another value, by the setting's name in section 5's plan.
PBX_TRUNK_DRIFT = {
    "name": {"name": "changed"},
    "enabled": {"enabled": False},
    "transport": {"transport": "TCP"},
    "hostname": {"hostname": "changed.pstn.twilio.com"},
    "port": {"port": 5099},
    "outbound proxy": {"outbound_server": "proxy.example.com"},
    "outbound proxy port": {"outbound_server_port": 5099},
    "authentication name": {"auth_id": "changed"},
    "user name (three-part authentication only)": {"username": "changed"},
    "need registration": {"registration": True},
    "registration interval, s": {"register_interval": 60},
    "max concurrent calls": {"concurrency": 3},
    "send OPTIONS": {"keep_alive": True},
    "OPTIONS interval, s": {"keep_alive_interval": 60},
    "use private IP": {"inlan": True},
    "verify port": {"verify_port": True},
    "rewrite Via host": {"rewrite_via_ip": True},
    "single Via": {"single_via_header": False},
    "adjust SDP on hold": {"adjust_sdp_direction": False},
    "remove SRTP information": {"remove_srtp_info": False},
    "require STIR/SHAKEN": {"stir_shaken_signature_required": True},
    "associated IP addresses": {"additional_ips": "54.172.60.0/30"},
    "DID pool": {"did_numbers": "12025550101"},
}

CARRIER_TRUNK = {
    **ACME_TRUNK,
    "friendly_name": "PortSIP carrier",
    "domain_name": "carrier-pbx.pstn.twilio.com",
    "access_lists": {"carrier-pbx PBX addresses": ["203.0.113.10/32"]},
    "credential_lists": {"carrier-pbx credentials": ["carrier-pbx"]},
    "numbers": ["+12025550105", "+12025550106", "+12025550107", "+12025550108"],
}

CARRIER_PBX_TRUNK = {
    **{name: value for name, value in ACME_PBX_TRUNK.items() if name not in ("did_numbers", "shared")},
    "name": "Twilio-Shared-Trunk",
    "hostname": "carrier-pbx.pstn.twilio.com",
    "auth_id": "carrier-pbx",
}

ASSIGNMENTS = {  # 5.5: each tenant its own DID pool
    "globex.pbx.example": ("12025550105;12025550106", 30),
    "initech.pbx.example": ("12025550107-12025550108", 10),
}


def rings(extension: str) -> dict[str, str]:
    return {"action": "FORWARD_TO_NUMBER", "number": extension}


INBOUND = {  # 6.2: name -> numbers, office hours, outside of them, holidays
    "globex.pbx.example": {
        "Twilio reception": ("12025550105", rings("1001"), rings("1001"), rings("1001")),
        "Twilio support": ("12025550106", rings("1002"), rings("1001"), rings("1001")),
    },
    "initech.pbx.example": {
        "Twilio": ("12025550107-12025550108", rings("2000"), rings("2000"), rings("2000")),
    },
}

OUTBOUND = {  # 6.1: name -> prefix, length, strip, prepend, caller id (+E.164, as Twilio wants it)
    "globex.pbx.example": {
        "Twilio 10 digits": ("", "10", 0, "+1", "+12025550105"),
        "Twilio 11 digits": ("1", "11", 0, "+", "+12025550105"),
        "Twilio E.164": ("+1;+2;+3;+4;+5;+6;+7;+8;+9", "", 0, "", "+12025550105"),
    },
    "initech.pbx.example": {"Twilio": ("", "10", 0, "+1", "+12025550107")},
}
