"""One parameter file (or the content that papermill injects): its content, and the line of each key."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ..errors import InputError
from ..paths import candidates, current_folder, locate, looked_for, near
from .both_yaml import MISREAD, differences, read_by_papermill, without_quotes
from .plain_yaml import read_plain
from .types import Strict

Source = str | Path | Mapping[str, Any]
Model = TypeVar("Model", bound=Strict)
PathInFile = tuple[str | int, ...]

LARGEST_FILE = 1_000_000
#: How many files a message names that could have been meant.
MOST_NAMED = 12
#: What YAML takes a key for: a text, or << that merges a mapping.
TEXT_KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
MOST_NODES = 50_000
#: What occurs in the content of a parameter file and in no path of one.
_CONTENT = re.compile(r"[{}\n]|: ")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
AS_CONTENT = "give the path of a parameter file (to pass its content, use papermill's -f or -y)"


@dataclass
class Document:
    """One file's content, the lines of its keys, and its problems.

    ``path`` is the file's full path, ``None`` for content that was passed. ``content`` is the mapping
    below the file's top-level key; empty if there is nothing to check. ``found`` has the problems as
    (line, text).
    """

    key: str
    path: Path | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    lines: dict[PathInFile, int] = field(default_factory=dict)
    found: list[tuple[int, str]] = field(default_factory=list)
    #: At which key each problem is.
    places: dict[str, PathInFile] = field(default_factory=dict)
    _duplicates: set[PathInFile] = field(default_factory=set)

    @classmethod
    def read(cls, source: Source, key: str, root: Path) -> Document:
        """Read a source; whatever is wrong with it becomes a problem."""
        document = cls(key)
        if isinstance(source, Mapping):
            document._take(source if key in source else {key: dict(source)})
        elif isinstance(source, str | Path) and is_content(str(source), root):
            document.add((key,), AS_CONTENT)  # without its name, which may contain a password
        elif isinstance(source, str | Path) and str(source):
            try:
                document.path = locate(source, current_folder(), root)
            except InputError as error:
                document.add((), error.problems[0])
            else:
                document._read_file(source, root)
        else:
            document.add((key,), "give a file's path, or the file's content as a mapping")
        return document

    @classmethod
    def of_text(cls, path: Path, text: str, key: str) -> Document:
        """Read what is to be written to a file; whatever is wrong with it becomes a problem."""
        document = cls(key, path)
        document._read_text(text)
        return document

    @property
    def folder(self) -> Path | None:
        """The file's folder, where relative paths in it start."""
        return self.path.parent if self.path else None

    @property
    def problems(self) -> list[str]:
        """The problems, in the order of the file."""
        return [text for _, text in sorted(self.found, key=lambda one: one[0])]

    def add(self, path: PathInFile, message: str) -> None:
        """Add a problem at a key, with the file and the key's line."""
        where = path
        while where and where not in self.lines:
            where = where[:-1]
        line = self.lines.get(where, 0)
        name = str(self.path or "")
        place = f"{name}:{line}" if line else name
        key = ".".join(_name(part) for part in path)
        text = ": ".join(part for part in (place, key, message) if part)
        self.places[text] = path
        self.found.append((line, text))

    def model(self, model: type[Model]) -> Model | None:
        """Return the content as a model, or ``None`` with the problems added."""
        if not self.content:
            return None
        try:
            return model.model_validate(self.content, context={"folder": self.folder})
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=True):
                # pydantic's own mark for "the key itself is wrong"
                path = (part for part in detail["loc"] if part != "[key]")
                self.add((self.key, *path), _message(detail, model))
            return None

    def _read_file(self, source: str | Path, root: Path) -> None:
        path = self.path
        if path is None:
            folders = current_folder(), root
            there = sorted({near(path, root) for path in self._files_beside(source, *folders)})
            self.add(
                (self.key,),
                f"cannot be read: there is no {looked_for(source, *folders)}"
                + (f"; there is {', '.join(there[:MOST_NAMED])}" if there else "")
                + (f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""),
            )
            return
        try:
            if path.exists() and not path.is_file():
                self.add((), "cannot be read (it is not a file)")
                return
            if path.stat().st_size > LARGEST_FILE:
                self.add((), f"larger than {LARGEST_FILE:,} bytes: not a parameter file")
                return
            self._read_text(path.read_bytes().decode("utf-8"))
        except OSError as error:
            self.add((), f"cannot be read ({error.strerror})")
        except UnicodeDecodeError:
            self.add((), "is not UTF-8 text")

    def _files_beside(self, source: str | Path, *folders: Path | None) -> Iterator[Path]:
        """The files of this kind where one was looked for."""
        begins = re.compile(rb"""^(\xef\xbb\xbf)?["']?%s["']?[ \t]*:""" % self.key.encode(), re.MULTILINE)
        for folder in {path.parent for path in candidates(source, *folders)}:
            with suppress(OSError):
                for path in sorted(folder.iterdir()):
                    is_yaml = path.suffix in (".yaml", ".yml") and path.is_file()
                    if is_yaml and path.stat().st_size <= LARGEST_FILE and begins.search(path.read_bytes()):
                        yield path

    def _read_text(self, text: str) -> None:
        try:
            self._parse(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.lines[()] = mark.line + 1 if mark else 0
            self.add(
                (), f"is not readable YAML ({without_quotes(error.problem or error.context or 'syntax')})"
            )
        except RecursionError:
            self.add((), "is not readable YAML (nested too deeply, or an alias within its own value)")
        except (YAMLError, *MISREAD) as error:
            self.add((), f"is not readable YAML ({type(error).__name__})")

    def _parse(self, written: str) -> None:
        if (plain := read_plain(written)) is not None:
            self.lines.update(plain.lines)
            self._take(plain.content)
            return
        text = written.removeprefix("\ufeff")
        tree = YAML(typ="safe", pure=True).compose(text)
        readable = True
        for count, (path, node) in enumerate(_walk(tree, ())) if tree is not None else ():
            if count > MOST_NODES:
                self.add((), "expands to more than a parameter file can contain (aliases)")
                return
            self.lines.setdefault(path, node.start_mark.line + 1)
            if isinstance(node, MappingNode):
                readable &= self._check_keys(path, node)
        if readable:
            yaml = YAML(typ="safe", pure=True)
            yaml.allow_duplicate_keys = True  # reported above, all of them
            content = yaml.load(text) if tree is not None else None
            self._compare(content, written)
            self._take(content)

    def _compare(self, content: Any, text: str) -> None:
        """Report what papermill (``-f FILE``) would read differently: a valid file has only one meaning."""
        problem, theirs = read_by_papermill(text)
        if problem:
            line, what = min(problem[0], text.count("\n") + 1), problem[1]  # it counts more line ends
            place = f"{self.path}:{line}" if line else str(self.path)
            self.found.append((line, f"{place}: is not readable YAML for papermill ({what})"))
            return
        for path, here, there in differences(content, theirs):
            if any(path[: len(one)] == one for one in self._duplicates):
                continue  # reported as that already
            self.add(
                path,
                f"YAML 1.1 (papermill) reads {there} here, YAML 1.2 reads {here}: put text in quotes, write"
                " numbers in plain decimal digits, and write true or false as such",
            )

    def _check_keys(self, path: PathInFile, node: MappingNode) -> bool:
        """Report duplicate keys, and keys that are none; return whether all are readable."""
        seen: dict[str, int] = {}
        readable = True
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self.lines[(*path, "?")] = line
                self.add((*path, "?"), "a key cannot be a list or a mapping")
                readable = False
            elif key.tag not in TEXT_KEYS:
                self.lines[(*path, key.value)] = line
                self.add((*path, key.value), "a key must be text, and YAML reads this as something else")
            elif key.value in seen:
                self.lines[(*path, key.value)] = line
                self.add((*path, key.value), f"duplicate key, first on line {seen[key.value]}")
                self._duplicates.add((*path, key.value))
            else:
                seen[key.value] = line
        return readable

    def _take(self, content: Any) -> None:
        if not isinstance(content, Mapping) or not content:
            self.add((), f"is not a mapping with the single key {self.key}")
            return
        for other in content:
            if other != self.key:
                message = f"unknown top-level key: a {self.key} file has exactly one, {self.key}"
                self.add((str(other),), message)
        if self.key not in content:
            self.add((self.key,), "is missing")
        elif not isinstance(content[self.key], dict) or not content[self.key]:
            self.add((self.key,), "write a mapping of keys here")
        else:
            self.content = content[self.key]


def is_content(text: str, root: Path) -> bool:
    """Whether a text that should be a file's path is a file's content, which must never be repeated."""
    return bool(_CONTENT.search(text)) and not any(
        map(os.path.isfile, candidates(text, current_folder(), root))
    )


def _walk(node: Node, path: PathInFile) -> Iterator[tuple[PathInFile, Node]]:
    yield path, node
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inner = (*path, _key_text(key) if isinstance(key, ScalarNode) else "?")
            yield inner, key
            yield from _walk(value, inner)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index))


def _key_text(key: ScalarNode) -> str:
    """A key as the content has it: ``0100`` is the number 100 there."""
    return str(YAML(typ="safe", pure=True).load(key.value)) if key.tag in _NUMBERS else key.value


def _name(part: str | int) -> str:
    """A key for display; text that does not look like a key could be anything and is not shown."""
    text = str(part)
    return text if re.fullmatch(r"[\w.?<-]{1,63}", text) else "(not a key)"


def _message(detail: ErrorDetails, model: type[Strict]) -> str:
    """Return what is wrong and what to write instead; never repeats the value."""
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "extra_forbidden":
            known = _known_keys(model, detail["loc"][:-1])
            close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the known keys are {', '.join(known)}"
            return f"unknown key: {hint}"
        case "missing":
            return "is missing"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"is not one of {context['expected'].replace(' or ', ', ')}"
        case "int_type" | "int_from_float":
            return "write a whole number here, without quotes"
        case "bool_type":
            return "write true or false here, without quotes"
        case "model_type" | "dict_type":
            return "is empty" if detail["input"] is None else "write a mapping of keys here"
        case "list_type":
            return "is empty" if detail["input"] is None else "write a list here"
        case "greater_than_equal":
            return f"is out of range: at least {context['ge']}"
        case "less_than_equal":
            return f"is out of range: at most {context['le']}"
        case "too_short":
            return f"too few: at least {context['min_length']}"
        case "too_long":
            return f"too many: at most {context['max_length']}"
        case "string_type" | "invalid_key":
            return "write text here, in quotes"
    text = detail["msg"]
    return text[0].lower() + text[1:]


def _known_keys(model: type[Strict], path: tuple[str | int, ...]) -> list[str]:
    """The keys that a mapping at a path of the model may have."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, Strict) and part in current.model_fields:
            current = _strict_in(current.model_fields[str(part)].annotation)
    return sorted(current.model_fields) if isinstance(current, type) and issubclass(current, Strict) else []


def _strict_in(annotation: Any) -> Any:
    """The mapping's model inside an annotation such as ``dict[str, TwilioAccount]``."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next((found for one in get_args(annotation) if (found := _strict_in(one)) is not None), None)
