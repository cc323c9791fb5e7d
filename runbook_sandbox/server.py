"""Both ports in one process: binding, announcing, serving, ending."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets as random
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from . import certificate, control, demo, secrets
from .gate import Connections, Gate
from .portsip import app as portsip_app
from .store import Store
from .twilio import app as twilio_app
from .world import World

HOST = "127.0.0.1"
SAVE_EVERY_S = 0.2
READY_WITHIN_S = 15.0
#: Credentials by the name of their file; the SIP passwords are nobody's sign-in.
_ACCEPTED = (
    *(secret for _, secret in demo.TWILIO_CREDENTIALS.values()),
    "portsip_admin_password",
    "portsip_tenant_password",
)

Announce = Callable[[dict[str, Any]], None]


def serve(
    root: Path,
    twilio_port: int = 0,
    portsip_port: int = 0,
    idle_seconds: float | None = None,
    *,
    data_file: Path | None = None,
    announce: Announce | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT, ``POST /_sandbox/stop`` or idle time; return the exit status.

    Parameters
    ----------
    root
        The project's root; secrets and certificate are below its ``.sandbox`` folder.
    twilio_port, portsip_port
        Ports on the loopback interface; 0 for free ones.
    idle_seconds
        End after this many seconds without a request.
    data_file
        Where the state is kept; without it, it begins as the demo data and ends with the process.
    announce
        Called with the endpoints when both ports answer; prints them as one JSON line by default.
    """
    try:
        sockets = {"twilio": _bind(twilio_port), "portsip": _bind(portsip_port)}
    except OSError as error:
        print(f"sandbox: {error.strerror or error}", file=sys.stderr)
        return 1
    ca_file = certificate.ensure_certificate(root)
    values = secrets.read_secrets(root)
    store = Store(demo.data, data_file)
    world = World(store, {name: values[name] for name in _ACCEPTED})
    twilio_url = f"http://{HOST}:{sockets['twilio'].getsockname()[1]}"
    world.endpoints = {
        "twilio_api_url": twilio_url,
        "twilio_trunking_url": twilio_url,
        "portsip_url": f"https://{HOST}:{sockets['portsip'].getsockname()[1]}",
        "control_url": f"{twilio_url}/_sandbox",
        "ca_file": str(ca_file),
        "pid": os.getpid(),
        "instance": random.token_hex(8),
    }
    asyncio.run(_Running(world, root, sockets, idle_seconds, announce or _print).run())
    return 0


def _print(endpoints: dict[str, Any]) -> None:
    shown = {name: value for name, value in endpoints.items() if name != "instance"}
    print(json.dumps(shown), flush=True)


def _bind(port: int) -> socket.socket:
    # Named as TCP so that asyncio sends small answers at once (TCP_NODELAY), not 40 ms later.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(0, f"port {port} on {HOST} cannot be used: {reason}") from None
    return listening


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals alone and can stop listening for a while."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def refuse(self, seconds: float) -> None:
        """Refuse connections for some seconds."""
        port = self.servers[0].sockets[0].getsockname()[1]
        for listening in self.servers:
            listening.close()
        await asyncio.sleep(seconds)
        if not self.should_exit:
            await self.startup(sockets=[_bind(port)])


class _Running:
    def __init__(
        self,
        world: World,
        root: Path,
        sockets: dict[str, socket.socket],
        idle_seconds: float | None,
        announce: Announce,
    ) -> None:
        self._world = world
        self._sockets = sockets
        self._idle_seconds = idle_seconds
        self._announce = announce
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections = {vendor: Connections() for vendor in sockets}
        chain, key = certificate.server_files(root)
        apps = {
            "twilio": twilio_app.twilio_app(world, control.routes()),
            "portsip": portsip_app.portsip_app(world),
        }
        self._servers = {
            vendor: _Server(
                uvicorn.Config(
                    Gate(apps[vendor], vendor, world, self._connections[vendor]),
                    http=self._connections[vendor].protocol(),
                    ws="none",
                    lifespan="off",
                    log_level="warning",
                    access_log=False,
                    server_header=False,
                    date_header=False,  # the gate gives one, by the vendors' clock
                    proxy_headers=False,
                    # longer than clients keep a connection: it must not vanish under a write of theirs
                    timeout_keep_alive=75,
                    timeout_graceful_shutdown=2,
                    ssl_certfile=str(chain) if vendor == "portsip" else None,
                    ssl_keyfile=str(key) if vendor == "portsip" else None,
                )
            )
            for vendor in sockets
        }
        world.stop = self._stop
        world.refuse = self._refuse

    async def run(self) -> None:
        """Serve both ports until asked to stop."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._stop)
        serving = [
            asyncio.create_task(server.serve(sockets=[self._sockets[vendor]]))
            for vendor, server in self._servers.items()
        ]
        keeping = asyncio.create_task(self._keep())
        try:
            await asyncio.to_thread(self._wait_until_ready)
            self._announce(self._world.endpoints)
            await asyncio.gather(*serving)
        finally:
            self._stop()
            keeping.cancel()
            await asyncio.gather(*serving, keeping, return_exceptions=True)
            self._world.store.save()

    async def _keep(self) -> None:
        """Save what changed and end when nobody uses the sandbox."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            self._world.store.save()
            idle = time.monotonic() - self._world.last_request
            if self._idle_seconds is not None and idle > self._idle_seconds:
                self._stop()

    def _wait_until_ready(self) -> None:
        """Return when both ports really answer."""
        endpoints = self._world.endpoints
        trusted = ssl.create_default_context(cafile=endpoints["ca_file"])
        deadline = time.monotonic() + READY_WITHIN_S
        asked = [
            (endpoints["control_url"] + "/health", None),
            (endpoints["portsip_url"] + "/api/info", trusted),
        ]
        # the environment's proxies do not lead to the loopback interface
        for url, context in asked:
            handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
            if context is not None:
                handlers.append(urllib.request.HTTPSHandler(context=context))
            opener = urllib.request.build_opener(*handlers)
            while True:
                try:
                    with opener.open(url, timeout=2):
                        break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
        self._world.log.clear()

    def _stop(self) -> None:
        self._world.faults.clear_barriers()
        for server in self._servers.values():
            server.should_exit = True

    def _refuse(self, vendor: str, seconds: float) -> None:
        """Reset a port's connections and let it refuse new ones for some seconds."""
        task = asyncio.get_running_loop().create_task(self._servers[vendor].refuse(seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        asyncio.get_running_loop().call_soon(self._connections[vendor].reset_all)
