"""Runs sections in processes that are killed (SIGKILL) at a chosen request.

The server below is warm and forks for every order, so that a killed run costs no interpreter's start.
Orders come as JSON lines; each is answered with how its process ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import urllib.request
from typing import Any, NoReturn

import httpx
import pytest

from tests.faults.running import COURSES, hurry, run_section


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def wait_for_effect(control_url: str, nth: int) -> None:
    """Return when the sandbox has carried out and answered the nth request that it got."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        with direct.open(f"{control_url}/requests") as answer:
            log = json.load(answer)["requests"]
        if len(log) >= nth and log[nth - 1]["status"] is not None:
            return
        time.sleep(0.002)


def die_at(nth: int, where: str, control_url: str) -> None:
    """Let this process die at its nth request."""
    count, send = 0, httpx.HTTPTransport.handle_request

    def trace(event: str, _: Any) -> None:
        # The request is on its way and nothing of the answer was read.
        if event == "http11.receive_response_headers.started":
            wait_for_effect(control_url, nth)
            die()

    def counted(wire: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        if count < nth:
            return send(wire, request)
        if where == "killed_before":
            die()
        if where == "killed_after_effect":
            request.extensions["trace"] = trace
        send(wire, request).read()
        die()

    httpx.HTTPTransport.handle_request = counted  # type: ignore[method-assign]


def serve() -> None:
    hurry(pytest.MonkeyPatch())
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                die_at(order["nth"], order["kind"], order["control_url"])
                run_section(COURSES[order["course"]], order["section"], order["approval"])
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        print(json.dumps({"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None}), flush=True)


if __name__ == "__main__":
    serve()
