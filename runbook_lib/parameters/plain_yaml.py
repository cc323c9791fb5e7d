"""Reading what every YAML reads alike, at a fraction of the cost.

Most parameter files hold keys, texts in quotes, words, plain numbers and true or false, and nothing that two
versions of YAML could read differently. libyaml reads such a file, and no second reader has to. Whatever is
not plainly of that kind is left to the careful way in ``document``; nothing is refused here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

#: libyaml's, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", None)

_LONGEST_LINE = 500
_MOST_NODES = 10_000
#: What no reader breaks a line at, refuses or skips.
_SHOWN = r"[^\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
_DOUBLE = rf'"(?:(?!["\\]){_SHOWN})*"'
_SINGLE = rf"'(?:(?!'){_SHOWN})*'"
_PART = r"[\w./@-]+"
_WORD = rf"\w[\w./@-]*(?: {_PART})*"
_IN_BLOCK = rf"\w[\w./@-]*(?::{_PART})*(?: {_PART}(?::{_PART})*)*"
_KEY = rf"(?:\w[\w./@-]*|{_DOUBLE}|{_SINGLE})"
_ITEM = rf"(?:{_DOUBLE}|{_SINGLE}|{_WORD})"
_LIST = rf"\[ ?(?:{_ITEM}(?:, ?{_ITEM})*)? ?\]"
_PAIR = rf"{_KEY}: (?:{_LIST}|{_ITEM})"
_MAPPING = rf"\{{ ?{_PAIR}(?:, ?{_PAIR})* ?\}}"
_VALUE = rf"(?:{_MAPPING}|{_LIST}|{_DOUBLE}|{_SINGLE}|{_IN_BLOCK})"
_COMMENT = rf"(?:#{_SHOWN}*)"
_LINE = re.compile(
    rf" {{0,40}}(?:{_COMMENT}|(?:(?:- )?(?:{_KEY}:(?: {_VALUE})?|{_MAPPING})|- {_VALUE})(?: +{_COMMENT})?)?"
)
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
#: With three dots it is not a number, in any version.
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
#: A word that begins with a letter is a text, unless it is one of these in one of the versions.
OTHER_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


class Plain(NamedTuple):
    """A file's content, and the line of each of its keys and values."""

    content: Any
    lines: dict[tuple[str | int, ...], int]


def read_plain(text: str) -> Plain | None:
    """Read a file that has one meaning in every version of YAML; ``None`` where that is not plain to see."""
    if _LOADER is None or not all(
        len(line) <= _LONGEST_LINE and _LINE.fullmatch(line) for line in text.split("\n")
    ):
        return None
    try:
        tree = yaml.compose(text, Loader=_LOADER)
        lines: dict[tuple[str | int, ...], int] = {}
        return None if tree is None else Plain(_value(tree, (), lines), lines)
    except (yaml.YAMLError, _NotPlainError):
        return None


class _NotPlainError(Exception):
    """Something that the careful way has to look at."""


def _value(node: Any, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    if len(lines) > _MOST_NODES:
        raise _NotPlainError
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, ScalarNode):
        return _scalar(node)
    if isinstance(node, SequenceNode):
        return [_value(item, (*path, index), lines) for index, item in enumerate(node.value)]
    if not isinstance(node, MappingNode):
        raise _NotPlainError
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node)
        if not isinstance(key, str) or key in content:
            raise _NotPlainError
        lines[*path, key] = key_node.start_mark.line + 1
        content[key] = _value(value_node, (*path, key), lines)
    return content


def _scalar(node: Any) -> Any:
    value = node.value
    if node.style in ("'", '"'):
        return value
    if _ADDRESS.fullmatch(value) or (value[:1].isalpha() and value.casefold() not in OTHER_WORDS):
        return value
    if value in ("true", "false"):
        return value == "true"
    if _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    raise _NotPlainError
