"""Two spellings of one meaning are the same; what means something else is not."""

from __future__ import annotations

import pytest

from runbook_lib.meaning import FORMS, meaning
from runbook_lib.records.footprint import same

#: For every field that has more than one spelling: values that mean the same, then values that do not.
SPELLINGS: dict[str, tuple[list[str], list[str]]] = {
    "additional_ips": (
        [
            "54.172.60.0/30;203.0.113.7",
            " 203.0.113.7/32 ; 54.172.60.0/30 ;",
            "54.172.60.0/31;54.172.60.2/31;203.0.113.7/32",
            "203.0.113.7;54.172.60.1/30",
        ],
        ["54.172.60.0/30", "54.172.60.0/29;203.0.113.7", "54.172.60.0/30;203.0.113.8", ""],
    ),
    "address": (["203.0.113.10/32", "203.0.113.10"], ["203.0.113.0/24", "203.0.113.11/32"]),
    "auth_mode": (["REGISTER_AUTH", "register_auth"], ["IP_AUTH"]),
    "brand": (["Twilio", "TWILIO", "twilio "], ["Sinch"]),
    "did_numbers": (
        [
            "12025550101-12025550104",
            "12025550103-12025550104;12025550101;12025550102",
            "12025550101 - 12025550103; 12025550102-12025550104;",
        ],
        ["12025550101-12025550105", "12025550101", "+12025550101", ""],
    ),
    "domain": (["acme.pbx.example", "ACME.pbx.example."], ["acme.pbx.example.org"]),
    "domain_name": (["a.pstn.twilio.com", "A.PSTN.Twilio.com", "a.pstn.twilio.com."], ["b.pstn.twilio.com"]),
    "friendly_name": (["Büro", "Bu\u0308ro"], ["Buro", "büro", "Büro "]),
    "hostname": (
        ["a.pstn.ashburn.twilio.com", "A.pstn.Ashburn.twilio.com.", "a.pstn.us1.twilio.com"],
        ["a.pstn.twilio.com", "b.pstn.ashburn.twilio.com", "a.pstn.umatilla.twilio.com"],
    ),
    "name": (["\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"], ["\ud55c\uae01"]),
    "number_length": (["10;11", "11; 10", "10;11;"], ["10", "10;12"]),
    "number_mask": (["100-102;199", "199;100;101-102", "100 - 102; 199"], ["100-102", "0100;199"]),
    "number_prefix": (["00;1", "1;00", " 1 ;00"], ["1", "001", "+1;00"]),
    "outbound_server": (["proxy.example.com", "Proxy.Example.com"], ["proxy.example.org"]),
    "protocol": (["UDP", "udp"], ["TCP"]),
    "sip_url": (
        [
            "sip:203.0.113.10;region=us1",
            "SIP:203.0.113.10;Region=US1",
            "sip:203.0.113.10:5060;region=us1",
            "sip:203.0.113.10;transport=udp;region=us1",
            "sip:203.0.113.10:5060;region=us1;transport=UDP",
        ],
        [
            "sip:203.0.113.10;region=us2",
            "sip:203.0.113.10:5080;region=us1",
            "sip:203.0.113.10;transport=tcp;region=us1",
            # Which of the two an operator writes is a setting of the site.
            "sip:203.0.113.10;edge=ashburn",
            "sips:203.0.113.10;region=us1",
            "sip:pbx@203.0.113.10;region=us1",
        ],
    ),
    "status": (["ONLINE", "Online"], ["OFFLINE"]),
    "transport": (["TLS", "tls"], ["TCP"]),
}


def test_every_form_has_spellings_here() -> None:
    assert SPELLINGS.keys() == FORMS.keys()


@pytest.mark.parametrize("field", SPELLINGS)
def test_spellings_of_one_meaning(field: str) -> None:
    alike, others = SPELLINGS[field]
    for spelling in alike:
        assert meaning(field, spelling) == meaning(field, alike[0])
        assert same(spelling, alike[0], field)
        for other in others:
            assert meaning(field, spelling) != meaning(field, other), other
            assert not same(spelling, other, field)


def test_a_host_with_the_roots_dot() -> None:
    assert meaning("sip_url", "sip:PBX.example.com.:5061;transport=tls;region=us1") == meaning(
        "sip_url", "sip:pbx.example.com;region=us1;transport=tls"
    )


@pytest.mark.parametrize("value", [None, "", 0, 5060, True, [], {"a": 1}])
def test_what_is_no_text_means_itself(value: object) -> None:
    for field in (*FORMS, "concurrency"):
        assert meaning(field, value) == value


def test_an_order_that_counts_is_compared() -> None:
    first, second = {"provider_id": "1"}, {"provider_id": "2"}
    assert not same([first, second], [second, first], "routes")
    assert not same({"routes": [first, second]}, {"routes": [second, first]})


def test_the_names_of_nested_fields_count() -> None:
    assert same({"hostname": "a.example", "name": "x"}, {"hostname": "A.example.", "name": "x"})
    assert not same({"hostname": "a.example", "name": "x"}, {"hostname": "a.example", "name": "X"})
