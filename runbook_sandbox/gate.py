"""What every request to a vendor passes: log, latency, barriers and faults."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from email.utils import format_datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import demo
from .faults import Fault
from .limits import OneInFlight, account_of
from .log import LoggedRequest
from .store import iso_micro
from .twilio.http import error_body
from .world import World

_HTML = (
    b"<html><head><title>Gateway</title></head><body><h1>It works, but this is not JSON</h1></body></html>"
)
#: SO_LINGER with no time makes a close send RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)


class Connections:
    """The open connections of one port, so that one can be reset on the wire."""

    def __init__(self) -> None:
        self._transports: dict[Any, asyncio.Transport] = {}

    def protocol(self) -> type[H11Protocol]:
        """Return uvicorn's HTTP protocol, which here notes its connections."""
        transports = self._transports

        class Noted(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                self.noted_as = transport.get_extra_info("peername")[:2]
                transports[self.noted_as] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.noted_as, None)
                super().connection_lost(exc)

        return Noted

    async def reset(self, client: tuple[str, int]) -> None:
        """Reset a client's connection; return when uvicorn knows that it is gone."""
        self._abort(tuple(client))
        while tuple(client) in self._transports:
            await asyncio.sleep(0.001)

    def reset_all(self) -> None:
        """Reset every connection."""
        for client in list(self._transports):
            self._abort(client)

    def _abort(self, client: Any) -> None:
        transport = self._transports.get(client)
        if transport is not None:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()


class Answer:
    """An answer that is kept back until it is known what becomes of it."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def take(self, message: Message) -> None:
        """Take what the application sends."""
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.start["status"])

    def header(self, name: bytes) -> str | None:
        """Return a header's value."""
        found = [value for key, value in self.start["headers"] if key.lower() == name]
        return found[0].decode("latin-1") if found else None

    @staticmethod
    def of(status: int, body: bytes, content_type: str, extra: dict[str, str] | None = None) -> Answer:
        """Return an answer made here."""
        answer = Answer()
        headers = {"content-type": content_type, "content-length": str(len(body))} | (extra or {})
        answer.start = {
            "type": "http.response.start",
            "status": status,
            "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
        }
        answer.body = body
        return answer


class Gate:
    """ASGI middleware in front of one vendor's API."""

    def __init__(self, app: ASGIApp, vendor: str, world: World, connections: Connections) -> None:
        self._app = app
        self._vendor = vendor
        self._world = world
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox/"):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the client hung up while it was sending
        world, send = self._world, self._dated(send)
        world.touch()
        headers = dict(scope["headers"])
        asked = (self._vendor, scope["method"], scope["path"])
        entry = world.log.open(
            iso_micro(world.store.clock.now()),
            *asked,
            scope["query_string"],
            headers.get(b"content-type", b"").decode("latin-1"),
            body,
        )
        if self._vendor == "twilio":
            with world.in_flight.one(account_of(scope["path"], headers.get(b"authorization", b""))) as one:
                send = _counted(send, one)
                if one.count > world.switches["twilio.requests_at_once"]:
                    await self._answer(_error("twilio", 429, None), entry, send)
                else:
                    await self._handle(scope, body, entry, send)
            return
        limit = world.switches["portsip.requests_per_minute"]
        wait = world.recent.wait_of(scope["client"][0], limit)
        if wait is None:
            await self._handle(scope, body, entry, send)
            return
        told = str(wait) if world.switches["portsip.retry_after"] == "seconds" else None
        await self._answer(_error("portsip", 429, told), entry, send)

    async def _handle(self, scope: Scope, body: bytes, entry: LoggedRequest, send: Send) -> None:
        """Answer a request that is within the vendor's rates: late, at a barrier, or with a fault."""
        world, asked = self._world, (self._vendor, scope["method"], scope["path"])
        if latency := world.switches[f"{self._vendor}.latency_ms"]:
            await asyncio.sleep(latency / 1000)
        await world.faults.hold(*asked, after_effect=False)
        fault = world.faults.due(*asked)
        if fault is None:
            answer = await self._carry_out(scope, body, entry)
            await world.faults.hold(*asked, after_effect=True)
            entry.status = answer.status
            await _pass_on(answer, send)
            return
        entry.fault = fault.kind
        await self._with_fault(fault, scope, body, entry, send)

    def _dated(self, send: Send) -> Send:
        """Give each answer the time by the clock that the vendor's own times are of."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = format_datetime(self._world.store.clock.now(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            await send(message)

        return dated

    async def _carry_out(self, scope: Scope, body: bytes, entry: LoggedRequest) -> Answer:
        """Let the vendor's application answer, and note whether its state changed."""
        answer = Answer()
        delivered = False

        async def receive() -> Message:
            nonlocal delivered
            if delivered:
                return {"type": "http.disconnect"}
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        before = self._world.store.version
        await self._app(scope, receive, answer.take)
        if self._world.store.version != before:
            entry.effect = True
            self._world.timeline.look(f"{entry.method} {entry.path}", entry.seq)
        entry.request_id = answer.header(b"twilio-request-id")
        return answer

    async def _with_fault(
        self, fault: Fault, scope: Scope, body: bytes, entry: LoggedRequest, send: Send
    ) -> None:
        world, client = self._world, scope["client"]
        kind = fault.kind
        if kind == "refused":
            world.refuse(self._vendor, fault.seconds)
            await self._connections.reset(client)
            return
        if kind == "reset_before":
            await self._connections.reset(client)
            return
        if kind == "status":
            await self._answer(
                _error(self._vendor, fault.status, fault.retry_after, fault.message), entry, send
            )
            return
        if kind in ("expired_token", "revoked_token", "wrong_password") and self._vendor == "twilio":
            await self._answer(_error("twilio", 401, None), entry, send)
            return
        if kind in ("expired_token", "revoked_token"):
            world.sessions.end_by_header(
                dict(scope["headers"]).get(b"authorization", b""), revoke=kind[0] == "r"
            )
        if kind == "wrong_password":
            body = _with_wrong_password(body)
        if kind == "delay" and fault.effect != "first":
            await asyncio.sleep(fault.seconds)
        answer = await self._carry_out(scope, body, entry)
        if kind == "reset_after":
            await self._connections.reset(client)
        elif kind == "cut":
            if answer.body:  # of an answer without a body, the head would be all of it
                await send(answer.start)
                await send(
                    {
                        "type": "http.response.body",
                        "body": answer.body[: len(answer.body) // 2],
                        "more_body": True,
                    }
                )
                await asyncio.sleep(0.05)  # lets the half reach the client before the reset overtakes it
            await self._connections.reset(client)
        elif kind == "foreign_account":
            # An answer that names no account is as it was, and the log says so.
            is_named = answer.status < 300 and demo.ACCOUNT_SID.encode() in answer.body
            if is_named:
                answer.body = answer.body.replace(demo.ACCOUNT_SID.encode(), demo.OTHER_ACCOUNT_SID.encode())
            entry.fault = kind if is_named else None
            await self._answer(answer, entry, send)
        elif kind == "not_json":
            # A 204 has no room for a page.
            status = 200 if answer.status == 204 else answer.status
            await self._answer(Answer.of(status, _HTML, "text/html"), entry, send)
        else:
            if kind == "delay" and fault.effect == "first":
                await asyncio.sleep(fault.seconds)
            await self._answer(answer, entry, send)
            if kind == "refused_after":
                world.refuse(self._vendor, fault.seconds)

    @staticmethod
    async def _answer(answer: Answer, entry: LoggedRequest, send: Send) -> None:
        entry.status = answer.status
        await _pass_on(answer, send)


def _counted(send: Send, request: OneInFlight) -> Send:
    """Give an answer the number of requests in flight; the last of it goes out when it is none any longer."""

    async def counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            count = (b"twilio-concurrent-requests", str(request.count).encode())
            message = {**message, "headers": [*message["headers"], count]}
        elif not message.get("more_body"):
            request.leave()
        await send(message)

    return counted


async def _read(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _pass_on(answer: Answer, send: Send) -> None:
    await send(answer.start)
    await send({"type": "http.response.body", "body": answer.body})


def _error(vendor: str, status: int, retry_after: str | None, told: str | None = None) -> Answer:
    """Return a failure as the vendor's front end words it, or with the message ``told``."""
    extra = {"retry-after": str(retry_after)} if retry_after is not None else {}
    if status in (502, 503) and told is None:
        return Answer.of(
            status, b"<html><body><h1>Service unavailable</h1></body></html>", "text/html", extra
        )
    if vendor == "twilio":
        number = {429: 20429, 401: 20003}.get(status, 20500)
        message = {429: "Too Many Requests", 401: "Authenticate"}.get(status, "Internal Server Error")
        content: dict[str, Any] = error_body(status, number, message if told is None else told)
    else:
        word = "Too many requests" if status == 429 else "Internal error"
        code = "UNAUTHORIZED" if status == 401 else "UNKNOWN"
        content = {"errors": [{"code": code, "message": word if told is None else told}]}
    return Answer.of(status, json.dumps(content).encode(), "application/json", extra)


def _with_wrong_password(body: bytes) -> bytes:
    try:
        content = json.loads(body)
    except ValueError:
        return body
    if isinstance(content, dict) and "password" in content:
        content["password"] = "not the password"  # noqa: S105 -- wrong on purpose
    return json.dumps(content).encode()
