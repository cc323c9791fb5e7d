"""Changing values in a YAML file's text: what was not changed stays as it is, byte by byte.

A change replaces the characters of the value, row or key that it is about. Afterwards the text is read again:
it must say exactly what was asked for, and each comment must be beside the row that it was beside before.
If not, ``InputError`` is raised and there is no text to be written.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import BlockEntryToken, ValueToken

from ..errors import InputError
from .plain_yaml import OTHER_WORDS

Place = tuple[str | int, ...]

#: A text that needs no quotes in any version of YAML.
_WORD = re.compile(r"[A-Za-z][\w-]*(?:[./:@][\w-]+)*(?: [\w-]+)*", re.ASCII)
_COMMENT = re.compile(r"#[^\r\n]*")
BY_HAND = "edit the file by hand"


class FileRow(dict[str, Any]):
    """A mapping of a list, which knows the place that it had in the file; ``None``: it is new."""

    origin: int | None = None


@dataclass(frozen=True)
class _Entry:
    """Where a key or the dash of an item is."""

    start: int
    column: int
    place: Place
    #: Where the outermost brackets end that it is in; 0 outside brackets.
    brackets_end: int


def plain(value: Any) -> Any:
    """Return what YAML says as texts, whole numbers, switches, lists and mappings; in lists, as rows."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_row(plain(item), index) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else str(value)


def copied(value: Any) -> Any:
    """Return a copy that can be changed; its rows know their places."""
    if isinstance(value, FileRow):
        return _row({key: copied(inner) for key, inner in value.items()}, value.origin)
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def _row(item: Any, origin: int | None) -> Any:
    if not isinstance(item, dict):
        return item
    made = FileRow(item)
    made.origin = origin
    return made


class Layout:
    """The text of a file, and where in it everything is.

    Raises ``YAMLError`` or ``ValueError`` if it is not readable, or has several documents.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.root: Node | None = YAML(typ="safe", pure=True).compose(text)
        self.values: Any = plain(YAML(typ="safe", pure=True).load(text))

    @cached_property
    def _tokens(self) -> list[Any]:
        return list(YAML(typ="safe", pure=True).scan(self.text))

    @cached_property
    def dashes(self) -> list[int]:
        return [one.start_mark.index for one in self._tokens if isinstance(one, BlockEntryToken)]

    @cached_property
    def colons(self) -> list[int]:
        return [one.start_mark.index for one in self._tokens if isinstance(one, ValueToken)]

    @cached_property
    def entries(self) -> list[_Entry]:
        """All keys and items, in the order of the text."""
        return sorted(self._entries(self.root, (), 0), key=lambda entry: entry.start)

    def _entries(self, node: Node | None, place: Place, brackets_end: int) -> Iterator[_Entry]:
        if not isinstance(node, MappingNode | SequenceNode):
            return
        if node.flow_style and not brackets_end:
            brackets_end = node.end_mark.index
        if isinstance(node, MappingNode):
            for key, value in node.value:
                start, inner = key.start_mark.index, (*place, str(key.value))
                yield _Entry(start, self.column(start), inner, brackets_end)
                yield from self._entries(value, inner, brackets_end)
        else:
            for index, item in enumerate(node.value):
                start = item.start_mark.index if node.flow_style else self.dash(item)
                yield _Entry(start, self.column(start), (*place, index), brackets_end)
                yield from self._entries(item, (*place, index), brackets_end)

    def masked(self, places: Sequence[Place], mask: str) -> str:
        """The text with a mask over the values at some places."""
        text = self.text
        spans = [(node.start_mark.index, self.end(node)) for node in map(self._node_at, places) if node]
        for start, end in sorted(spans, reverse=True):
            text = text[:start] + mask + text[end:]
        return text

    def _node_at(self, place: Place) -> Node | None:
        node = self.root
        for part in place:
            if isinstance(node, MappingNode):
                node = next((value for key, value in node.value if str(key.value) == part), None)
            elif isinstance(node, SequenceNode) and isinstance(part, int):
                node = node.value[part]
        return node

    def line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def line_end(self, index: int) -> int:
        """Where the line of a character ends, before its line break."""
        end = self.text.find("\n", index)
        end = len(self.text) if end < 0 else end
        return end - 1 if end > index and self.text[end - 1] == "\r" else end

    def next_line(self, index: int) -> int:
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    def column(self, index: int) -> int:
        start = self.line_start(index)
        return index - start - self.text.startswith("\ufeff", start)

    def dash(self, item: Node) -> int:
        """The dash of an item outside brackets."""
        start = item.start_mark.index
        if isinstance(item, SequenceNode) and not item.flow_style:
            start -= 1  # it begins with its own dash
        return self.dashes[bisect_right(self.dashes, start) - 1]

    def slot(self, node: Node) -> int:
        """The place after the colon or the dash that a value follows."""
        start = node.start_mark.index
        before = [marks[at - 1] for marks in (self.dashes, self.colons) if (at := bisect_left(marks, start))]
        return max(before) + 1

    def is_empty(self, node: Node) -> bool:
        return isinstance(node, ScalarNode) and node.start_mark.index == node.end_mark.index

    def end(self, node: Node) -> int:
        """Where the characters of a value end; comments after it are no part of it."""
        if self.is_empty(node):
            return self.slot(node)
        if isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
            last = node.value[-1]
            return self.end(last[1] if isinstance(node, MappingNode) else last)
        end: int = node.end_mark.index
        return len(self.text[:end].rstrip()) if getattr(node, "style", None) in ("|", ">") else end

    def above(self, start: int) -> int:
        """Where the block of a key or an item begins: with the comments directly above it."""
        column, begin = self.column(start), self.line_start(start)
        while begin:
            before = self.line_start(begin - 1)
            line = self.text[before : begin - 1].lstrip("\ufeff")
            if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) > column:
                break
            if self._is_within_value(before):
                break
            begin = before
        return begin

    def below(self, start: int, end: int) -> int:
        """Where the block of a key or an item ends: with the comments below that are indented more."""
        column, after = self.column(start), self.next_line(end)
        while after < len(self.text):
            line = self.text[after : self.line_end(after)]
            if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) <= column:
                break
            after = self.next_line(after)
        return after

    def _is_within_value(self, index: int) -> bool:
        return any(one.start_mark.index < index < one.end_mark.index for one in self._tokens)

    @cached_property
    def comments(self) -> list[tuple[str, str, Place]]:
        """Each comment, and the row that it is beside, directly above, or in."""
        found, at, line = [], 0, -1
        for token in self._tokens:
            start, end = token.start_mark.index, token.end_mark.index
            for comment in _COMMENT.finditer(self.text, at, max(at, start)):
                is_beside = line >= self.line_start(comment.start())
                found.append((comment[0].rstrip(), *self._owner(comment.start(), is_beside=is_beside)))
            at = max(at, end)
            line = end - 1 if end > start else line
        return found

    def _owner(self, index: int, *, is_beside: bool) -> tuple[str, Place]:
        entries = [entry for entry in self.entries if not entry.brackets_end or index < entry.brackets_end]
        position = bisect_left([entry.start for entry in entries], index)
        following = entries[position] if position < len(entries) else None
        before, column = entries[:position], self.column(index)
        if is_beside:
            return "beside", before[-1].place if before else ()
        if following is not None and column <= following.column:
            between = self.text[index : self.line_start(following.start)].split("\n")[1:-1]
            if all(text.lstrip().startswith("#") for text in between):
                return "above", following.place
        around = next((entry for entry in reversed(before) if entry.column <= column), None)
        if around is None:
            return "in", ()
        if around.column < column:
            return "in", around.place
        # The dashes of a list may be below their key: then this is beside the key.
        is_below = any(e.place == around.place[:-1] and e.column == column for e in before)
        return "in", around.place[: -2 if is_below else -1]


def rewritten(layout: Layout, values: Any) -> str:
    """Return the text that says ``values``, with everything else as it is in ``layout``.

    Raises ``InputError`` if comments would be beside other rows, or the file cannot be changed in this way.
    """
    writer = _Writer(layout)
    try:
        writer.change(layout.root, layout.values, values, ())
        text = writer.text
        text.encode()
        after = Layout(text)
    except (YAMLError, ValueError, IndexError):
        raise _unfit() from None
    if after.values != values:
        raise _unfit()
    places = {entry.place for entry in after.entries} | {()}
    wanted: Counter[tuple[str, str, Place]] = Counter()
    for comment, where, place in layout.comments:
        moved = writer.moved(place)
        if moved is not None and moved in places:
            wanted[comment, where, moved] += 1
    if wanted != Counter(after.comments):
        raise InputError(
            ["comments in the file would end up beside other rows, or be lost"], next_step=BY_HAND
        )
    return text


def _unfit() -> InputError:
    return InputError(["the layout of the file does not allow this change here"], next_step=BY_HAND)


@dataclass
class _Writer:
    """Collects which characters are replaced by which."""

    layout: Layout
    _cuts: list[tuple[int, int, str]] = field(default_factory=list)
    #: Of each list whose rows moved: from the old place of a row to the new one.
    _moves: dict[Place, dict[int, int]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text with everything replaced."""
        parts, at, source = [], 0, self.layout.text
        removed = [(start, end) for start, end, new in self._cuts if end > start and not new]
        cuts = []
        for start, end, new in self._cuts:
            if start == end:  # what comes below a line that is removed comes below the line before that
                for first, last in removed:
                    if first < start <= last and self.layout.column(first) == 0:
                        start = end = min(start, self.layout.line_end(self.layout.line_start(first - 1)))
            cuts.append((start, end, new))
        for start, end, new in sorted(cuts, key=lambda cut: cut[0]):
            parts += [source[at:start], new]
            at = max(at, end)
        return "".join([*parts, source[at:]])

    def moved(self, place: Place) -> Place | None:
        """Where what was at a place is now; ``None`` for a row that was removed."""
        made: list[str | int] = []
        for position, part in enumerate(place):
            moves = self._moves.get(place[:position])
            if moves is not None and isinstance(part, int):
                if part not in moves:
                    return None
                part = moves[part]
            made.append(part)
        return tuple(made)

    def change(self, node: Any, old: Any, new: Any, place: Place) -> None:
        """Replace what differs between two values of a node."""
        if isinstance(node, MappingNode) and isinstance(old, dict) and isinstance(new, dict) and old and new:
            self._change_mapping(node, old, new, place)
        elif (
            isinstance(node, SequenceNode) and isinstance(old, list) and isinstance(new, list) and old and new
        ):
            self._change_list(node, old, new, place)
        elif old != new:
            self._replace(node, new)

    def _cut(self, start: int, end: int, new: str = "") -> None:
        self._cuts.append((start, end, new))

    def _change_mapping(
        self, node: MappingNode, old: dict[str, Any], new: dict[str, Any], place: Place
    ) -> None:
        pairs = [(str(key.value), key, value) for key, value in node.value]
        is_kept = [name not in old or name in new for name, _, _ in pairs]
        added = {name: value for name, value in new.items() if name not in old}
        known = {name for name, _, _ in pairs}
        # What comes from elsewhere, by an anchor, is said again here.
        added |= {name: new[name] for name in old if name not in known and new.get(name) != old[name]}
        if not any(is_kept):
            self._replace(node, new)
            return
        for (name, _, value), kept in zip(pairs, is_kept, strict=True):
            if kept and name in old:
                self.change(value, old[name], new[name], (*place, name))
        spans = [(key.start_mark.index, self._pair_end(key, value)) for _, key, value in pairs]
        if node.flow_style:
            self._change_brackets(
                spans, is_kept, [f"{_key(name)}: {_inline(item)}" for name, item in added.items()]
            )
            return
        self._remove_lines(spans, is_kept)
        if added:
            last = max(index for index, kept in enumerate(is_kept) if kept)
            column = self.layout.column(spans[-1][0])
            self._insert_below(spans[last][1], [" " * column + line for line in self._block(added)])

    def _change_list(self, node: SequenceNode, old: list[Any], new: list[Any], place: Place) -> None:
        origins = self._origins(old, new, place)
        moves = {origin: index for index, origin in enumerate(origins) if origin is not None}
        if moves != dict(enumerate(range(len(old)))):
            self._moves[place] = moves
        layout = self.layout
        starts = [item.start_mark.index if node.flow_style else layout.dash(item) for item in node.value]
        spans = [(start, layout.end(item)) for start, item in zip(starts, node.value, strict=True)]
        if not moves:
            self._replace(node, new)
            return
        if list(moves) != sorted(moves):
            self._reorder(node, spans, new, origins)
            return
        for origin, index in moves.items():
            self.change(node.value[origin], old[origin], new[index], (*place, origin))
        is_kept = [index in moves for index in range(len(old))]
        like = node.value[0]
        if node.flow_style:
            # The form adds at the end; elsewhere, the list is written again.
            added = [index for index, origin in enumerate(origins) if origin is None]
            if added and added[0] < max(moves.values()):
                self._reorder(node, spans, new, origins)
            else:
                self._change_brackets(spans, is_kept, [_inline(new[index], like) for index in added])
            return
        self._remove_lines(spans, is_kept)
        column = layout.column(spans[0][0])
        for index, item in enumerate(new):
            if origins[index] is not None:
                continue
            lines = [" " * column + line for line in self._item(item, like)]
            before = [spans[origin][1] for origin, at in moves.items() if at < index]
            if before:
                self._insert_below(before[-1], lines)
            else:
                first = layout.above(spans[min(moves)][0])
                self._cut(first, first, "".join(line + self._break for line in lines))

    def _origins(self, old: list[Any], new: list[Any], place: Place) -> list[int | None]:
        """Which item each was: a row knows it, a text is recognized."""
        if any(isinstance(item, dict) for item in (*old, *new)):
            return [item.origin if isinstance(item, FileRow) else None for item in new]
        left = list(range(len(old)))
        origins: list[int | None] = []
        for item in new:
            same = next((index for index in left if old[index] == item), None)
            if same is not None:
                left.remove(same)
            origins.append(same)
        fresh = [index for index, origin in enumerate(origins) if origin is None]
        if len(old) == len(new) and fresh == left:
            if len(left) > 1 and self._have_comments(place, left):
                raise InputError(
                    ["several items with comments would be replaced, and each comment belongs to one item"],
                    next_step="change one of them and write the file, then change the next",
                )
            for index in left:
                origins[index] = index
        elif fresh and self._have_comments(place, left):
            raise InputError(
                ["an item with a comment would be replaced by another one in a different place"],
                next_step="remove or change only this item and write the file, then continue",
            )
        return origins

    def _have_comments(self, place: Place, indexes: Sequence[int]) -> bool:
        rows = {(*place, index) for index in indexes}
        return any(owner in rows for _, _, owner in self.layout.comments)

    def _reorder(
        self, node: SequenceNode, spans: list[tuple[int, int]], new: list[Any], origins: list[int | None]
    ) -> None:
        """Write a list again whose items have another order, each with its own comments."""
        layout, text, like = self.layout, self.layout.text, node.value[0]
        if node.flow_style:
            parts = [
                _inline(item, like) if origin is None else text[slice(*spans[origin])]
                for item, origin in zip(new, origins, strict=True)
            ]
            self._cut(spans[0][0], spans[-1][1], ", ".join(parts))
            return
        blocks = [(layout.above(start), layout.below(start, end)) for start, end in spans]
        column, made = layout.column(spans[0][0]), ""
        for item, origin in zip(new, origins, strict=True):
            if origin is None:
                made += "".join(" " * column + line + self._break for line in self._item(item, like))
            else:
                block = text[slice(*blocks[origin])]
                made += block if block.endswith("\n") else block + self._break
        self._cut(blocks[0][0], blocks[-1][1], made)

    def _remove_lines(self, spans: list[tuple[int, int]], is_kept: list[bool]) -> None:
        """Remove keys or items outside brackets, each with its comments."""
        layout, first_kept = self.layout, is_kept.index(True)
        for index, ((start, end), kept) in enumerate(zip(spans, is_kept, strict=True)):
            if kept:
                continue
            if layout.text[layout.line_start(start) : start].strip(" \ufeff"):
                # It is behind a dash: the next one comes in its place.
                self._cut(start, spans[first_kept][0])
            elif index > first_kept or not self._is_behind_dash(spans[0][0]):
                self._cut(layout.above(start), layout.below(start, end))

    def _is_behind_dash(self, start: int) -> bool:
        return bool(self.layout.text[self.layout.line_start(start) : start].strip(" \ufeff"))

    def _change_brackets(self, spans: list[tuple[int, int]], is_kept: list[bool], added: list[str]) -> None:
        """Remove and add within brackets."""
        first, last = is_kept.index(True), len(is_kept) - 1 - is_kept[::-1].index(True)
        for index, kept in enumerate(is_kept):
            if not kept and index < first:
                self._cut(spans[index][0], spans[index + 1][0])
            elif not kept:
                self._cut(spans[index - 1][1], spans[index][1])
        if added:
            self._cut(spans[last][1], spans[last][1], "".join(f", {text}" for text in added))

    def _replace(self, node: Node, new: Any) -> None:
        """Write another value in the place of a whole one."""
        layout = self.layout
        slot = layout.slot(node)
        start = slot if layout.is_empty(node) else node.start_mark.index
        is_block = isinstance(node, MappingNode | SequenceNode) and not node.flow_style
        is_within = any(entry.brackets_end > slot >= entry.start for entry in layout.entries)
        is_item = layout.text[slot - 1] == "-"
        stays_inline = not is_block and not isinstance(node, ScalarNode) and (bool(node.value) or is_item)
        if _is_long(new) and not is_within and not stays_inline:
            # Below its key, or in the place of the lines that are there.
            entry = layout.entries[bisect_left([e.start for e in layout.entries], slot) - 1]
            column = layout.column(start) if is_block else self._inner_column(entry.column, new)
            lines = [" " * column + line for line in self._block(new)]
            if is_block:
                self._cut(start, layout.line_end(layout.end(node)), self._break.join(lines).lstrip(" "))
                return
            self._cut(slot, layout.end(node))
            self._insert_below(layout.end(node), lines)
        elif is_block:
            self._cut(slot, layout.line_end(layout.end(node)), f" {_inline(new)}")
        else:
            text = _inline(new, node)
            self._cut(start, layout.end(node), text if start > slot else f" {text}")

    def _pair_end(self, key: Node, value: Node) -> int:
        return max(int(key.end_mark.index), self.layout.end(value))

    def _insert_below(self, index: int, lines: list[str]) -> None:
        end, after = self.layout.line_end(index), self.layout.next_line(index)
        line_break = self.layout.text[end:after] or self._break  # that of its neighbour
        self._cut(end, end, "".join(line_break + line for line in lines))

    @property
    def _break(self) -> str:
        return "\r\n" if "\r\n" in self.layout.text else "\n"

    @cached_property
    def _steps(self) -> tuple[int, int]:
        """How far the file indents a mapping in a mapping, and a list in one."""
        mapping = sequence = 0
        columns = {entry.place: entry.column for entry in self.layout.entries if not entry.brackets_end}
        for place, column in columns.items():
            if place[:-1] in columns and isinstance(place[-1], int):
                sequence = sequence or column - columns[place[:-1]] + 1
            elif place[:-1] in columns and not any(isinstance(part, int) for part in place):
                mapping = mapping or column - columns[place[:-1]]
        return mapping or 2, sequence - 1 if sequence else mapping or 2

    def _inner_column(self, column: int, value: Any) -> int:
        return column + self._steps[isinstance(value, list)]

    def _block(self, value: Any) -> list[str]:
        """The lines of a mapping or a list, as below a key."""
        if isinstance(value, list):
            return [line for item in value for line in self._item(item, None)]
        lines = []
        for name, inner in value.items():
            if _is_long(inner):
                indent = " " * self._inner_column(0, inner)
                lines += [f"{_key(name)}:", *(indent + line for line in self._block(inner))]
            else:
                lines.append(f"{_key(name)}: {_inline(inner)}")
        return lines

    def _item(self, value: Any, like: Node | None) -> list[str]:
        """The lines of an item: in brackets if the list has such items."""
        if not _is_long(value) or (isinstance(like, MappingNode) and like.flow_style):
            return [f"- {_inline(value, like)}"]
        first, *further = self._block(value)
        return [f"- {first}", *(f"  {line}" for line in further)]


def _is_long(value: Any) -> bool:
    """Whether a value gets its own lines: a mapping, or a list of mappings."""
    return bool(value) and (
        isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))
    )


def _key(name: str) -> str:
    return _scalar(name, None)


def _inline(value: Any, like: Node | None = None) -> str:
    """A value in one line; a text with the quotes of ``like``."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(name)}: {_inline(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    return _scalar(value, like.style if isinstance(like, ScalarNode) else None)


def _scalar(value: Any, quotes: str | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    if quotes == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if quotes != '"' and _WORD.fullmatch(value) and value.casefold() not in OTHER_WORDS:
        return value
    return '"' + "".join(map(_character, value)) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
