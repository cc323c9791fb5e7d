"""Reading a parameter file a second time, as papermill does with ``-f FILE``, to compare the two.

The runbook reads YAML 1.2, papermill YAML 1.1. ``0100`` is 100 in one and 64 in the other, ``no`` is
text or false, and of two equal keys one uses the first and the other the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

#: Errors that both readers raise, without a position, for a value not matching its tag: ``!!bool maybe``.
MISREAD = (ValueError, LookupError, AttributeError, TypeError)
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "nothing",
    list: "a list",
    dict: "a mapping",
}


class _AsPapermill(yaml.SafeLoader):
    """Papermill's own loader, which leaves dates alone; importing papermill itself takes a second."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_by_papermill(text: str) -> tuple[tuple[int, str] | None, Any]:
    """Return what papermill reads, or the line and the reason why it cannot: (line, problem)."""
    try:
        return None, yaml.load(text, Loader=_AsPapermill)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = without_quotes(error.problem or error.context or "syntax")
        return (mark.line + 1 if mark else 0, what), None
    except (yaml.YAMLError, *MISREAD) as error:
        return (0, type(error).__name__), None


def differences(ours: Any, theirs: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, str, str]]:
    """Yield every place where two readings differ: its path, and what each of them is."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        # By type as well: to Python, True and 1 are the same key.
        there = {(type(key), key): value for key, value in theirs.items()}
        for key, value in ours.items():
            if (type(key), key) in there:
                yield from differences(value, there[type(key), key], (*path, str(key)))
            else:
                yield (*path, str(key)), "this key", "another key"
        if len(theirs) > len(ours):
            yield path, "fewer keys", "more keys"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (our_item, their_item) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(our_item, their_item, (*path, index))
    elif type(ours) is not type(theirs):
        yield path, _kind(ours), _kind(theirs)
    elif ours != theirs and (ours == ours or theirs == theirs):  # .nan is not even itself
        yield path, _kind(ours), f"{_kind(theirs)}, but a different one,"


def without_quotes(problem: str) -> str:
    """Return a parser's message without what it quotes from the file, which may be a secret."""
    return re.sub(r"(['\"]).{2,}\1", "…", problem)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")
