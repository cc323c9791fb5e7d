"""What the page says, sampled every second against the sandbox's state, through random walks of an operator.

Every table and box bears its time, so that it stays true when somebody else changes what it shows. What an
operator takes for the present (closing box, form, state of the run) has to agree with the vendors and the
records within five seconds of every act on the page.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from runbook_lib.records import living
from runbook_sandbox import demo
from tests.conftest import SEED, TestSandbox
from tests.notebooks.lab import (
    FIRST_WRITE,
    PATIENCE_MS,
    apply_button,
    cancel_button,
    choose_run_all,
    open_notebook,
    patience,
    run_all,
    type_name,
    wait_until_planned,
)

WALKS, STEPS = (20, 6) if os.environ.get("RUNBOOK_SWEEP") else (1, 4)
AGREES_WITHIN_S = 5
DOMAIN = "acme-pbx.pstn.twilio.com"
TRUNK = demo.trunk_row("TK" + "a" * 32, "PortSIP acme", DOMAIN)
#: Captions and the first lines of boxes, that is whatever states something, in the cells' outputs.
STATEMENTS = """() => [...document.querySelectorAll(".jp-OutputArea-output :is(table caption, b)")]
  .filter(one => one.getClientRects().length).map(one => one.innerText)
  .filter(text => text.includes("demo/acme") && !/^demo\\/acme$/.test(text.trim()))"""
SHOWN = """() => {
  const visible = [...document.querySelectorAll(".jp-Notebook .jp-OutputArea-output")]
    .filter(one => one.getClientRects().length)
  const text = visible.map(one => one.innerText).join("\\n")
  const run = document.querySelector(".runbook-panel .panel[data-lost=false] .run:not([hidden]) strong")
  return {text, running: Boolean(run && run.innerText.includes("is being applied"))}
}"""


@dataclass
class Walk:
    """A page, what was done with it, and how long it has been saying something untrue."""

    page: Page
    sandbox: TestSandbox
    #: Whether somebody else changed the state, or the page was loaded from the disk, since it was read.
    is_of_the_past: bool = False
    #: What was looked at, and the longest that a statement was found to be untrue.
    samples: int = 0
    longest_s: float = 0.0

    @property
    def runs(self) -> list[object]:
        return list(living.going_on(self.sandbox.root / "records" / "demo" / "acme"))

    @property
    def has_trunk(self) -> bool:
        return DOMAIN in self.sandbox.vendors.trunk_sids()

    def wrong(self) -> list[str]:
        """What the page says now that is not so."""
        shown, has_trunk, runs = self.page.evaluate(SHOWN), self.has_trunk, self.runs
        found = []
        if shown["running"] != bool(runs) and not self.is_of_the_past:
            found.append(f"state of the run: {shown['running']}")
        if self.is_of_the_past or runs:
            return found
        for says, is_so in (
            ("planned: nothing to change", has_trunk),
            ("Nothing to apply: everything is in place", has_trunk),
            ("rows to apply", not has_trunk),
            ("Apply: 2 rows change", not has_trunk),
        ):
            if says in shown["text"] and not is_so:
                found.append(says)
        return found

    def sample(self, seconds: int) -> None:
        """Look every second; whatever is wrong has to end in time, and nothing is said without its time."""
        since: dict[str, float] = {}
        for _ in range(seconds):
            wrong, now = self.wrong(), time.monotonic()
            since = {what: since.get(what, now) for what in wrong}
            self.samples += 1
            self.longest_s = max([self.longest_s, *(now - begun for begun in since.values())])
            late = [what for what, begun in since.items() if now - begun > patience(AGREES_WITHIN_S)]
            assert not late, late
            stated = [text for text in self.page.evaluate(STATEMENTS) if "Nothing to apply yet" not in text]
            assert not [text for text in stated if not re.search(r"\d\d:\d\d:\d\d UTC", text)], stated
            self.page.wait_for_timeout(1_000)

    def refresh(self) -> None:
        choose_run_all(self.page)
        wait_until_planned(self.page, "01")
        self.is_of_the_past = False

    @property
    def is_offered(self) -> bool:
        """Whether the page offers to apply; a form without a kernel says why it does not."""
        if not apply_button(self.page).count():
            return False
        lost = self.page.get_by_text("No answer from the kernel since").first
        enabled = self.page.locator(".runbook-panel input.name:enabled:visible")
        expect(lost.or_(enabled).first).to_be_visible(timeout=1_000 * patience(8))
        return not lost.is_visible()

    def apply(self) -> None:
        if self.is_offered:
            type_name(self.page)
            apply_button(self.page).click()
            if self.is_of_the_past:  # whatever becomes of it, the page is read again
                self.is_of_the_past = False
                expect(self.page.get_by_text(re.compile("Section 01: [a-z]+ at")).last).to_be_visible(
                    timeout=PATIENCE_MS
                )

    def cancel(self) -> None:
        self.sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 8})
        if not self.is_offered:
            return
        self.apply()
        if self.runs:
            cancel_button(self.page).click()

    def restart(self) -> None:
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.get_by_text("Restart Kernel…", exact=True).click()
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self.is_of_the_past = True
        expect(self.page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)

    def drift(self) -> None:
        sids = self.sandbox.vendors.trunk_sids()
        change = {"id": sids[DOMAIN], "remove": True} if DOMAIN in sids else {"add": TRUNK}
        self.sandbox.control("POST", "state/patch", {"vendor": "twilio", "kind": "trunks", **change})
        self.is_of_the_past = True


@pytest.mark.parametrize("number", range(WALKS))
def test_a_page_says_only_what_is_true(
    page: Page, lab: str, sandbox: TestSandbox, record_property: Callable[[str, object], None], number: int
) -> None:
    walk, chance = Walk(page, sandbox), random.Random(f"{SEED} {number}")

    def reload() -> None:
        open_notebook(page, lab, "01")
        walk.is_of_the_past = True

    acts: list[Callable[[], None]] = [walk.apply, walk.cancel, walk.restart, reload, walk.drift, walk.refresh]
    run_all(page, lab, "01")
    walk.sample(2)
    try:
        for act in chance.choices(acts, k=STEPS):
            act()
            walk.sample(8)
        walk.refresh()
        walk.sample(6)
    finally:  # the figures, with --junitxml
        record_property("samples", walk.samples)
        record_property("longest disagreement, seconds", round(walk.longest_s, 1))
