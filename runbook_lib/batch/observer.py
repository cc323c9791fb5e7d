"""Observers of a batch: none of their errors can end it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from ..secret import scrub
from .interruption import Interruption
from .results import SectionResult, TenantResult


class Observer:
    """Base observer: override the callbacks you need; the defaults do nothing.

    An error in a callback becomes a remark in the batch's result: it cannot end the batch.
    """

    def on_tenant_start(self, tenant: str) -> None:
        """Called before a tenant's first section."""

    def on_policy(self, tenant: str, seen: str) -> None:
        """Called before a tenant's first section if there is something to report about the site's policy."""

    def on_begun(self, tenant: str, folder: Path) -> None:
        """Called when a tenant begins, also among others at the same time; ``folder`` is its run's."""

    def on_going(self, tenant: str, section: str, done: Sequence[SectionResult]) -> None:
        """Called when one of several tenants at once begins a section; ``done`` are those before it."""

    def on_section_start(self, tenant: str, section: str) -> None:
        """Called before a section's notebook runs."""

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        """Called with the result of a section, including one that was not run."""

    def on_tenant_end(self, result: TenantResult) -> None:
        """Called when a tenant's record is written."""


class Aside(Observer):
    """What accompanies a batch: its observer, pages and index. A failure here is a remark.

    Parameters
    ----------
    observer
        Receives the same calls as this object.
    interruption
        Is informed of an interruption that reaches the observer; must be holding signals.
    """

    def __init__(self, observer: Observer, interruption: Interruption) -> None:
        self._observer = observer
        self._interruption = interruption
        self.remarks: list[str] = []

    def on_tenant_start(self, tenant: str) -> None:
        self.attempt("showing the progress", self._observer.on_tenant_start, tenant)

    def on_policy(self, tenant: str, seen: str) -> None:
        self.attempt("showing the progress", self._observer.on_policy, tenant, seen)

    def on_begun(self, tenant: str, folder: Path) -> None:
        self.attempt("showing the progress", self._observer.on_begun, tenant, folder)

    def on_going(self, tenant: str, section: str, done: Sequence[SectionResult]) -> None:
        self.attempt("showing the progress", self._observer.on_going, tenant, section, done)

    def on_section_start(self, tenant: str, section: str) -> None:
        self.attempt("showing the progress", self._observer.on_section_start, tenant, section)

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        self.attempt("showing the progress", self._observer.on_section_end, tenant, result)

    def on_tenant_end(self, result: TenantResult) -> None:
        self.attempt("showing the progress", self._observer.on_tenant_end, result)

    def attempt(self, what: str, call: Callable[..., object], *arguments: object) -> None:
        """Call, and record an error as a remark."""
        try:
            call(*arguments)
        except KeyboardInterrupt:  # from somebody else's handler: the next section is not begun
            self._interruption(signal.SIGINT)
        except BaseException as error:  # a library may even exit when its output is gone
            self.remark(scrub(f"{what} failed ({type(error).__name__}: {error})"))

    def remark(self, remark: str) -> None:
        """Report something apart from the work itself, once."""
        if remark not in self.remarks:
            self.remarks.append(remark)
