"""Termination labels, hosts and origination URIs."""

from __future__ import annotations

import pytest

from runbook_lib.sip_uri import (
    EDGES,
    OriginationUri,
    TerminationUri,
    address_kind,
    check_host,
    not_public,
    termination,
    termination_label,
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("portsip-pbx", "portsip-pbx"),
        ("portsip-pbx.pstn.twilio.com", "portsip-pbx"),
        ("a.b", "a.b"),
        ("x" * 63, "x" * 63),
    ],
)
def test_labels(text: str, label: str) -> None:
    assert termination_label(text) == label


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "a_b", "A", "x" * 64, "a..b", "a.b.c", "ä", "a b", "sip:a", "a.pstn.example.com"]
)
def test_labels_that_dns_would_not_take(text: str) -> None:
    with pytest.raises(ValueError, match="termination label"):
        termination_label(text)


@pytest.mark.parametrize("text", ["203.0.113.10", "pbx.example.com"])
def test_hosts(text: str) -> None:
    assert check_host(text) == text


@pytest.mark.parametrize(
    "text", ["", "pbx", "1.2.3", "1.2.3.256", "01.2.3.4", "a_b.example", "-a.example", "::1", "a.b:5060"]
)
def test_malformed_hosts(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        check_host(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.4", "private"),
        ("127.0.0.1", "loopback"),
        ("169.254.1.1", "link-local"),
        ("203.0.113.10", "documentation"),
        ("198.51.100.1", "documentation"),
        ("192.0.2.1", "documentation"),
        ("0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("100.64.0.1", "not globally routed"),
        ("54.172.60.1", None),
        ("pbx.example.com", None),
        ("pbx.local", "private"),
        ("pbx.internal", "private"),
        ("pbx.localhost", "loopback"),
    ],
)
def test_addresses_that_twilio_cannot_reach(text: str, kind: str | None) -> None:
    assert not_public(text) == kind


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (OriginationUri("203.0.113.10", "us1"), "sip:203.0.113.10;region=us1"),  # as the guide writes it
        (OriginationUri("203.0.113.10", "us2", "edge"), "sip:203.0.113.10;edge=umatilla"),
        (
            OriginationUri("pbx.example.com", "us1", port=5070),
            "sip:pbx.example.com:5070;transport=udp;region=us1",
        ),
        (
            OriginationUri("203.0.113.10", "us1", "region", "tcp", 5063),
            "sip:203.0.113.10:5063;transport=tcp;region=us1",
        ),
        (
            OriginationUri("203.0.113.10", "us1", "region", "tls", 5061),
            "sip:203.0.113.10:5061;transport=tls;region=us1",
        ),
    ],
)
def test_origination_uris(uri: OriginationUri, text: str) -> None:
    assert str(uri) == text


@pytest.mark.parametrize("region", EDGES)
@pytest.mark.parametrize("parameter", ["region", "edge"])
@pytest.mark.parametrize(("transport", "port"), [("udp", 5060), ("udp", 5070), ("tcp", 5063), ("tls", 5061)])
def test_an_origination_uri_is_read_as_it_is_written(
    region: str, parameter: str, transport: str, port: int
) -> None:
    uri = OriginationUri("pbx.example.com", region, parameter, transport, port)
    assert OriginationUri.parse(str(uri)) == uri


def test_ports_and_transports_that_are_left_out_are_twilios_defaults() -> None:
    assert OriginationUri.parse("sip:1.2.3.4;edge=dublin;transport=tls") == OriginationUri(
        "1.2.3.4", "ie1", "edge", "tls", 5061
    )
    assert OriginationUri.parse("sip:1.2.3.4;region=us1").port == 5060


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sips:1.2.3.4;region=us1",
        "http://1.2.3.4",
        "1.2.3.4;region=us1",
        "sip:1.2.3.4",
        "sip:user@1.2.3.4;region=us1",
        "sip:pbx;region=us1",
        "sip:1.2.3.4;region=us9",
        "sip:1.2.3.4;edge=us1",
        "sip:1.2.3.4;edge=roaming",
        "sip:1.2.3.4;region=us1;edge=ashburn",
        "sip:1.2.3.4;region=us1;region=us2",
        "sip:1.2.3.4;transport=ws;region=us1",
        "sip:1.2.3.4;tnx=x;region=us1",
        "sip:1.2.3.4:0;region=us1",
        "sip:1.2.3.4:65536;region=us1",
        "sip:1.2.3.4;region=us1?X-Header=1",
        "sip:1.2.3.4;region=us1\n",
    ],
)
def test_malformed_origination_uris(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        OriginationUri.parse(text)


@pytest.mark.parametrize(
    ("text", "label", "edge"),
    [
        ("acme", "acme", ""),
        ("acme.pstn.twilio.com", "acme", ""),
        ("acme.pstn.tokyo.twilio.com", "acme", "tokyo"),
        ("a.b.pstn.sao-paulo.twilio.com", "a.b", "sao-paulo"),
        ("acme.pstn.us1.twilio.com", "acme", "ashburn"),
        ("acme.pstn.jp1.twilio.com", "acme", "tokyo"),
        ("acme.pstn.london-ix.twilio.com", "acme", "london-ix"),
        ("acme.pstn.us2-ix.twilio.com", "acme", "san-jose-ix"),
    ],
)
def test_a_trunk_is_the_same_through_every_edge(text: str, label: str, edge: str) -> None:
    uri = TerminationUri.parse(text)
    assert (uri.label, uri.edge, uri.domain) == (label, edge, f"{label}.pstn.twilio.com")
    assert TerminationUri.parse(str(uri)) == uri == TerminationUri.parse(termination(text))


@pytest.mark.parametrize("edge", ["roaming", "gll", "mars", "london", "ashburn.us1", "us9", "-", ""])
def test_an_edge_that_trunks_do_not_have(edge: str) -> None:
    with pytest.raises(ValueError, match=r"edge|termination label"):
        TerminationUri.parse(f"acme.pstn.{edge}.twilio.com")
    assert TerminationUri.read(f"acme.pstn.{edge}.twilio.com") is None


def test_public_addresses() -> None:
    assert address_kind("54.172.60.1") == address_kind("pbx.example.com") == "public"
