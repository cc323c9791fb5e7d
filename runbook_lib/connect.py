"""Where the clients connect to, the sandbox or the vendors' own hosts, and which certificates they trust."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from .errors import InputError, UnreachableError
from .parameters import Site, TwilioAccount
from .secret import resolve
from .vendors.lending import Lender
from .vendors.pbx import Pbx
from .vendors.sign_in import SignInGate
from .vendors.transport import Transport
from .workspace import records_folder

#: For tests only, and only to this machine: never through a parameter.
PBX_OVERRIDE = "RUNBOOK_PORTSIP_URL"
OVERRIDES = ("RUNBOOK_TWILIO_API_URL", "RUNBOOK_TWILIO_TRUNKING_URL", PBX_OVERRIDE)


@dataclass(frozen=True)
class Endpoints:
    """Base URLs of both vendors' APIs, and whose certificates are trusted there."""

    twilio: dict[str, str]
    twilio_trust: ssl.SSLContext | bool
    portsip: str
    portsip_trust: ssl.SSLContext | bool


def endpoints(site: Site, account: TwilioAccount, root: Path) -> Endpoints:
    """Return where a site's clients connect to; starts the embedded sandbox if the site is one.

    Raises ``InputError`` when a test's override does not point at this machine.
    """
    api, trunking, _ = (_override(name) for name in OVERRIDES)
    if site.target == "sandbox":
        if not (api and trunking):
            from runbook_sandbox import process  # only a sandbox site pays for the import

            running = process.ensure_running(root)
            api, trunking = api or running.twilio_url, trunking or running.twilio_url
        routes = monitor = trunking  # the sandbox has every API of Twilio on one port
    else:
        from .vendors.twilio import live_hosts

        live = live_hosts(account.region, account.api_edge)
        routes, monitor = trunking or live["routes"], trunking or live["monitor"]
        api, trunking = api or live["api"], trunking or live["trunking"]
    return Endpoints(
        {"api": api, "trunking": trunking, "routes": routes, "monitor": monitor},
        _trust(account.ca_file.path(root) if account.ca_file else None, "twilio_accounts.NAME.ca_file"),
        *pbx_endpoint(site, root),
    )


def pbx_endpoint(site: Site, root: Path) -> tuple[str, ssl.SSLContext | bool]:
    """Return the base URL of a site's PBX, and whose certificates are trusted there; as ``endpoints``."""
    url = _override(PBX_OVERRIDE)
    ca_file = site.pbx.ca_file.path(root) if site.pbx.ca_file else None
    if site.target == "sandbox":
        from runbook_sandbox import certificate, process

        url = url or process.ensure_running(root).portsip_url
        ca_file = ca_file or certificate.ensure_certificate(root)
    url = url or site.pbx.url or ""
    assert url, "a live site without its PBX's API is refused with the parameters"
    url = url.rstrip("/").removesuffix("/api")
    pin = site.pbx.certificate_sha256
    return url + "/api", _pinned(url, pin) if pin else _trust(ca_file, "pbx.ca_file")


def pbx_of(
    site: Site,
    root: Path,
    transport: Transport,
    url: str,
    *,
    domain: str | None,
    ask: Callable[[], str] | None = None,
    lender: Lender | None = None,
    reads_whole: bool = False,
) -> Pbx:
    """Return a site's PBX for a tenant's domain (``None``: for no tenant), as its administrator.

    ``ask`` and ``lender`` as for ``Session``, ``reads_whole`` as for ``Pbx``.

    Raises ``SecretError`` when the password's reference cannot be resolved.
    """
    return Pbx(
        transport,
        url,
        SignInGate(records_folder(root) / site.name, transport.waits),
        username=site.pbx.username,
        password=resolve(site.pbx.password, root).reveal(),
        domain=domain,
        ask=ask,
        lender=lender,
        reads_whole=reads_whole,
    )


def _override(name: str) -> str:
    url = os.environ.get(name, "")
    if not url:
        return ""
    host = urlsplit(url).hostname or ""
    if host != "localhost" and not (_is_ip(host) and ip_address(host).is_loopback):
        raise InputError([f"{name} is for tests and must point at this machine, not at {host or 'nothing'}"])
    return url.rstrip("/")


def _trust(ca_file: Path | None, key: str) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise InputError([f"{key}: {ca_file} cannot be read as a CA bundle ({error.strerror})"]) from None


def _pinned(url: str, pin: str) -> ssl.SSLContext:
    """Trust exactly the certificate that the PBX presents now, if it is the pinned one."""
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=10)
    except OSError as error:
        raise UnreachableError(
            f"the PBX at {parts.netloc} did not answer ({error})",
            vendor="PortSIP",
            next_step="check the network",
        ) from None
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    if shown != pin.lower().removeprefix("sha256:").replace(":", ""):
        raise UnreachableError(
            f"the certificate of the PBX at {parts.netloc} is not the pinned one (it is sha256:{shown})",
            vendor="PortSIP",
            meaning="nothing was sent: the server was replaced, or somebody is intercepting the connection",
            next_step="find out which it is; if the certificate was renewed, correct pbx.certificate_sha256",
        )
    context = ssl.create_default_context(cadata=pem)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # The pin identifies the certificate itself, so its host name adds nothing.
    context.check_hostname = False
    return context


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
