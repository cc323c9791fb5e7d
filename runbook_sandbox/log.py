"""The request log: every request that a vendor's port got, with secrets masked."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

KEPT = 200_000
MASK = "***"
_SECRET_FIELDS = frozenset({"password", "access_token", "refresh_token", "token", "code", "authtoken"})


@dataclass
class LoggedRequest:
    """One request and what became of it.

    ``status`` is ``None`` while the request is under way and when no answer was sent; ``effect`` says
    whether it changed the vendor's state; ``fault`` names the injected fault, if any.
    """

    seq: int
    at: str
    vendor: str
    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int | None = None
    effect: bool = False
    fault: str | None = None
    request_id: str | None = None


class RequestLog:
    """The requests of both vendors in the order in which they arrived."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=KEPT)
        self._seq = 0

    def open(
        self, at: str, vendor: str, method: str, path: str, query: bytes, content_type: str, body: bytes
    ) -> LoggedRequest:
        """Note a request that has just been read."""
        self._seq += 1
        pairs = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        entry = LoggedRequest(
            self._seq, at, vendor, method, path, masked(pairs), masked(_readable(content_type, body))
        )
        self._entries.append(entry)
        return entry

    @property
    def last_seq(self) -> int:
        """Number of the newest request."""
        return self._seq

    def entries(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the entries with a higher number than ``after``."""
        return [asdict(entry) for entry in self._entries if entry.seq > after]

    def clear(self) -> None:
        """Forget all requests; numbers go on counting."""
        self._entries.clear()


def masked(value: Any) -> Any:
    """Return plain data with the values of secret fields replaced."""
    if isinstance(value, dict):
        return {k: MASK if _is_secret(k) and v else masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


def _is_secret(field: Any) -> bool:
    return isinstance(field, str) and field.lower() in _SECRET_FIELDS


def _readable(content_type: str, body: bytes) -> Any:
    if not body:
        return None
    text = body.decode("utf-8", errors="replace")
    if content_type.startswith("application/json"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return {"unreadable": len(body)}
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(text, keep_blank_values=True))
    return {"unreadable": len(body)}
