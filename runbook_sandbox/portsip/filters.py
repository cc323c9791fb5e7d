"""The query options of PortSIP's collections: filter, search, orderby, skip and top.

Source: the OpenAPI document of 22.2, "Filtering": eq ne gt ge lt le, and, or, startswith, endswith,
contains; strings in single quotes. ``skip`` counts items (minimum 0) although the prose says 1-based.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..store import StoredRow

Test = Callable[[StoredRow], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_.]*)|(?P<mark>[(),]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}
_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
_MAX_TOKENS = 200


class FilterError(ValueError):
    """A query option that cannot be understood."""


def select(
    rows: list[StoredRow], query: dict[str, str], *, filter_works: bool = True
) -> tuple[int, list[StoredRow]]:
    """Return how many rows there are under the query's filter and search, and the page asked for."""
    skip = _whole(query, "skip", 0, 0, 2**31 - 1)
    top = _whole(query, "top", 100, 1, 100)
    if query.get("filter", "").strip():
        test = parse_filter(query["filter"], _fields(rows))
        if filter_works:
            rows = [row for row in rows if test(row)]
    if wanted := query.get("search", "").strip().casefold():
        rows = [
            row for row in rows if any(isinstance(v, str) and wanted in v.casefold() for v in row.values())
        ]
    if query.get("orderby", "").strip():
        rows = _ordered(rows, query["orderby"])
    return len(rows), rows[skip : skip + top]


def parse_filter(text: str, fields: set[str] | None = None) -> Test:
    """Return the test that a filter stands for; ``FilterError`` if it makes no sense."""
    return _Parser(text, fields).whole()


class _Parser:
    def __init__(self, text: str, fields: set[str] | None) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._fields = fields

    def whole(self) -> Test:
        test = self._any()
        if self._at != len(self._tokens):
            raise FilterError(f"unexpected {self._tokens[self._at][1]!r}")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._took("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._took("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        if self._took("("):
            test = self._any()
            self._expect(")")
            return test
        kind, word = self._next()
        if kind != "word":
            raise FilterError(f"a field was expected, not {word!r}")
        if word in _FUNCTIONS:
            return self._function(word)
        return self._comparison(word)

    def _function(self, name: str) -> Test:
        self._expect("(")
        field = self._field(self._next()[1])
        self._expect(",")
        wanted = self._literal()
        self._expect(")")
        if not isinstance(wanted, str):
            raise FilterError(f"{name} needs a string")
        return lambda row: isinstance(row.get(field), str) and _FUNCTIONS[name](row[field], wanted)

    def _comparison(self, word: str) -> Test:
        field = self._field(word)
        _, operator = self._next()
        if operator not in _COMPARE:
            raise FilterError(f"unknown operator {operator!r}")
        wanted = self._literal()
        compare = _COMPARE[operator]

        def test(row: StoredRow) -> bool:
            value = row.get(field)
            if operator in ("eq", "ne"):
                return compare(value, wanted)
            return type(value) is type(wanted) and compare(value, wanted)

        return test

    def _field(self, word: str) -> str:
        if self._fields is not None and word not in self._fields:
            raise FilterError(f"unknown field {word!r}")
        return word

    def _literal(self) -> Any:
        kind, word = self._next()
        if kind == "text":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return float(word) if "." in word else int(word)
        if word in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[word]
        raise FilterError(f"a value was expected, not {word!r}")

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise FilterError("the filter ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _took(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] in (("word", word), ("mark", word)):
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._took(mark):
            raise FilterError(f"{mark!r} was expected")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or len(tokens) >= _MAX_TOKENS:
            raise FilterError(f"cannot be read from {text[at : at + 20]!r} on")
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
        at = found.end()
    return tokens


def _fields(rows: list[StoredRow]) -> set[str] | None:
    return set().union(*rows[:1]) if rows else None


def _ordered(rows: list[StoredRow], orderby: str) -> list[StoredRow]:
    keys = [part.split() for part in orderby.split(",")]
    for key in reversed(keys):
        if not 1 <= len(key) <= 2 or key[-1] not in (key[0], "asc", "desc"):
            raise FilterError(f"orderby cannot be read: {orderby!r}")
        field = key[0]
        if rows and field not in rows[0]:
            raise FilterError(f"unknown field {field!r} in orderby")
        rows = sorted(rows, key=lambda row: _sortable(row.get(field)), reverse=key[1:] == ["desc"])
    return rows


def _sortable(value: Any) -> tuple[int, float, str]:
    if isinstance(value, (bool, int, float)):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def _whole(query: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d{1,12}", text, re.ASCII) or not low <= int(text) <= high:
        raise FilterError(f"{name} must be a number from {low} to {high}")
    return int(text)
