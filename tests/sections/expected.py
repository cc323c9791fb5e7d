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
    "shared": False,
    "status": "ONLINE",  # 5.E
}
