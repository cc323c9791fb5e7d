"""What drift is reported as: rows for a table, JSON, a text file for node_exporter, a message to a URL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..errors import InputError, RunbookError
from ..parameters import Site, TrunkScope
from ..plain_files import write_whole
from ..plan import value_text
from ..records.result import now
from ..secret import SecretRef, resolve, scrub_data
from ..words import first_of
from .differences import Difference, Looked, Owner, look_at_all

#: Of the JSON document and of what is posted.
FORMAT = 1
NOT_KNOWN = "not known who"
#: Tenants that a message names; it says how many more there are.
NAMED = 20
POST_S = 10.0
COLUMNS = ("Tenant", "Step", "Setting", "Now", "Should be", "Action", "Changed by")


@dataclass(frozen=True)
class Drift:
    """What one look at a site found."""

    site: str
    at: str
    seconds: float
    looked: tuple[Looked, ...]
    requests: dict[str, int]

    @classmethod
    def of(cls, site: Site, owners: Sequence[Owner], root: Path) -> Drift:
        """Look at the tenants, and shared trunks, of a site."""
        at, began = now(), time.monotonic()
        looked, requests = look_at_all(site, owners, root)
        return cls(site.name, at, time.monotonic() - began, tuple(looked), requests)

    @property
    def differences(self) -> list[Difference]:
        """All rows that differ, by tenant and step."""
        return [difference for looked in self.looked for difference in looked.differences]

    @property
    def differing(self) -> list[str]:
        """The tenants and shared trunks with something that differs."""
        return [looked.owner.name for looked in self.looked if looked.differences]

    @property
    def unread(self) -> list[Looked]:
        """What could not be read."""
        return [looked for looked in self.looked if looked.error is not None]

    @property
    def tenants(self) -> int:
        """How many tenants were looked at."""
        return sum(not isinstance(looked.owner, TrunkScope) for looked in self.looked)

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        words = f"{self.site}: {len(self.differences)} settings of {len(self.differing)} tenants differ"
        if not self.differences:
            words = f"{self.site}: nothing differs"
        unread = f"; {len(self.unread)} could not be read" if self.unread else ""
        return f"{words}, of {self.tenants} tenants{unread}"

    def table(self) -> list[tuple[Any, ...]]:
        """The differences as rows of plain values, under ``COLUMNS``."""
        return [
            (
                one.tenant,
                one.row.step,
                one.row.setting,
                value_text(one.row.current),
                value_text(one.row.desired),
                str(one.row.action),
                str(one.author or NOT_KNOWN),
            )
            for one in self.differences
        ]

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, without secrets."""
        data = {
            "format": FORMAT,
            "site": self.site,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "tenants": self.tenants,
            "requests": self.requests,
            "differences": [
                {
                    "tenant": one.tenant,
                    "section": one.section,
                    **one.row.covered(),
                    "note": one.row.note,
                    "changed_by": asdict(one.author) if one.author else None,
                }
                for one in self.differences
            ],
            "unread": [{"tenant": looked.owner.name, "error": str(looked.error)} for looked in self.unread],
        }
        return scrub_data(data)


def write_metrics(drift: Drift, path: Path, timestamp: float) -> None:
    """Write what node_exporter's textfile collector reads; the file appears whole, readable by everybody."""
    site = f'site="{_label(drift.site)}"'
    lines = []
    for name, words, samples in (
        ("tenants", "Tenants that were looked at.", [(site, drift.tenants)]),
        (
            "differing",
            "Tenants and shared trunks with settings that differ.",
            [(site, len(drift.differing))],
        ),
        ("unread", "Tenants that could not be read.", [(site, len(drift.unread))]),
        (
            "differences",
            "Settings that differ, by tenant.",
            [
                (f'{site},tenant="{_label(looked.owner.name)}"', len(looked.differences))
                for looked in drift.looked
                if looked.differences
            ],
        ),
        ("seconds", "How long it took.", [(site, round(drift.seconds, 3))]),
        ("timestamp_seconds", "When it ended, in seconds since 1970.", [(site, round(timestamp))]),
    ):
        whole = f"runbook_drift_{name}"
        lines += [f"# HELP {whole} {words}", f"# TYPE {whole} gauge"]
        lines += [f"{whole}{{{labels}}} {value}" for labels, value in samples]
    write_whole(path, ("\n".join(lines) + "\n").encode())
    path.chmod(0o644)


def post_target(text: str, root: Path) -> str:
    """Return the URL that a reference leads to.

    Raises ``InputError`` for a reference that leads nowhere, or to anything but an HTTPS URL; only this
    machine itself may be reached without TLS.
    """
    try:
        url = resolve(SecretRef.parse(text), root).reveal()
    except ValueError as error:
        raise InputError([f"--post: {error}"]) from None
    parts = urlsplit(url)
    if (parts.scheme == "https" and parts.hostname) or (
        parts.scheme == "http" and _is_here(parts.hostname or "")
    ):
        return url
    raise InputError([f"--post: {text} does not refer to an https:// URL"])


def post(drift: Drift, url: str) -> None:
    """Post a summary; its ``text`` is what chat services show.

    Raises ``RunbookError``, which does not name the URL: it is a secret.
    """
    names = first_of(drift.differing, NAMED)
    data = {"text": f"{drift.sentence}: {names}" if names else drift.sentence} | drift.to_data()
    try:
        answer = httpx.post(url, json=scrub_data(data), timeout=POST_S, trust_env=False)
        problem = "" if answer.is_success else f"HTTP {answer.status_code}"
    except httpx.HTTPError as error:
        problem = type(error).__name__
    if problem:
        raise RunbookError(
            f"the summary could not be posted ({problem})",
            meaning="nobody was notified of the differences",
            next_step="read the result here, and check the URL that --post refers to",
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
