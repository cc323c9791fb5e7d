"""Every message rendered in another way, so that whatever the program compares is not a message.

What is data stays: keys of resources, actions, effects, values of rows, names that came from the
parameters or from a vendor. What people read changes: settings, notes, words of kinds, errors, captions.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest

from runbook_lib import errors, keys, sections
from runbook_lib.plan import Row
from runbook_lib.records.journal import Journal
from runbook_lib.sections.items import View

Render = Callable[[str], str]
#: Not messages: what stands in a plan as a value, which its digest covers.
VALUES = {"NOT_READABLE", "WANTED", "NOT_KNOWN"}


def upper_case(text: str) -> str:
    return text.upper()


class Numbers:
    """Each message is its number, one that was rendered stays, and no run has the numbers of another."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        if not text or (text[0] == "#" and text[1:].isdigit()):
            return text
        return self._known.setdefault(text, f"#{self._first + len(self._known)}")


def render_messages(patch: pytest.MonkeyPatch, render: Render) -> None:
    """Let every message of the library be rendered by a function, until the patch is undone."""
    for kind, words in keys.WORDS.items():
        patch.setitem(keys.WORDS, kind, render(words))
    phrase, words_of = keys.ResourceKey.__str__, keys.ResourceKey.words.fget
    patch.setattr(keys.ResourceKey, "__str__", lambda key: render(phrase(key)))
    patch.setattr(keys.ResourceKey, "words", property(lambda key: render(words_of(key))))
    _render_fields(patch, Row, render, "setting", "note")
    _render_fields(patch, View, render, "caption", "columns")
    _render_errors(patch, render)
    answered = Journal.answered
    patch.setattr(
        Journal,
        "answered",
        lambda journal, entry, **told: answered(
            journal, entry, **(told | {"error": told["error"] and render(told["error"])})
        ),
    )
    for module in _modules(sections):
        for name, value in vars(module).items():
            if name.isupper() and type(value) is str and " " in value and name not in VALUES:
                patch.setattr(module, name, render(value))
            if name == "SIDES":  # what the plan calls the two passwords
                for side, text in list(value.items()):
                    patch.setitem(value, side, render(text))


def _render_fields(patch: pytest.MonkeyPatch, cls: type, render: Render, *names: str) -> None:
    made, order = cls.__init__, [one.name for one in fields(cls)]

    def rendered(value: Any) -> Any:
        return tuple(map(render, value)) if isinstance(value, tuple) else render(value)

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        given = dict(zip(order, values, strict=False)) | named
        made(self, **{key: rendered(value) if key in names else value for key, value in given.items()})

    patch.setattr(cls, "__init__", __init__)


def _render_errors(patch: pytest.MonkeyPatch, render: Render) -> None:
    made = errors.RunbookError.__init__

    def __init__(self: Any, what: str, **more: Any) -> None:
        texts = {name: more[name] and render(more[name]) for name in ("meaning", "next_step") if name in more}
        made(self, render(what), **(more | texts))

    patch.setattr(errors.RunbookError, "__init__", __init__)


def _modules(package: ModuleType) -> list[ModuleType]:
    names = [one.name for one in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    return [importlib.import_module(name) for name in names]
