"""Generated malformed files: every key of the committed files deleted, retyped, misspelt and duplicated."""

from __future__ import annotations

import random
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from runbook_lib.errors import InputError, SecretError
from runbook_lib.parameters import load
from tests.conftest import CHECKOUT, SEED, sample
from tests.parameters.test_bad_input import CANARY, changed

SETS = {"sandbox": ("acme", "globex", "initech"), "example": ("dental",)}
#: Values that fit no key of the files, by what they are.
WRONG: dict[str, Any] = {
    "an empty list": [],
    "a list": [CANARY],
    "a mapping": {"value": CANARY},
    "a fraction": 1.5,
    "a control character": "one\x00two",
}
#: Keys that no file may leave out, wherever they stand in the committed ones.
REQUIRED = {
    *("name", "target", "twilio_accounts", "main", "account_sid", "pbx", "address", "password"),
    *("pbx_domain", "dids", "trunk", "friendly_name", "termination", "credentials"),
}


def keys(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of every key below the top-level one; lists count as one value."""
    if isinstance(node, dict):
        for key, value in node.items():
            if path:
                yield (*path, key)
            yield from keys(value, (*path, key))


def read(path: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(path)


def text_of(document: dict[str, Any]) -> str:
    stream = StringIO()
    YAML(typ="safe").dump(document, stream)
    return stream.getvalue()


def block(document: dict[str, Any], twice: tuple[str, ...], depth: int = 0) -> Iterator[str]:
    """The document as block YAML, with one key written twice."""
    for key, value in document.items():
        for _ in range(2 if twice == (key,) else 1):
            inner = twice[1:] if twice[:1] == (key,) else ()
            if isinstance(value, dict):
                yield "  " * depth + f"{key}:"
                yield from block(value, inner, depth + 1)
            else:
                yield "  " * depth + f"{key}: " + repr(value).replace("True", "true")


def misspelt(word: str, draw: random.Random) -> str:
    """The word with two neighbours exchanged, one letter lost, or one doubled."""
    at = draw.randrange(len(word) - 1)
    return draw.choice(
        [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :] + ("" if word[at] != word[at + 1] else "x"),
            word[:at] + word[at + 1 :],
            word[:at] + word[at] * 2 + word[at + 1 :],
        ]
    )


def mutations(document: dict[str, Any], draw: random.Random) -> Iterator[tuple[str, str, str]]:
    """Malformed versions of a file: what was done, the key that it was done to, the text."""
    for path in keys(document):
        dotted = ".".join(path)
        parent, (*way, last) = ".".join(path[:-1]), path
        value: Any = document
        for part in path:
            value = value[part]
        yield "duplicated", dotted, "\n".join(block(document, path))
        for what, wrong in WRONG.items():
            if type(wrong) is not type(value) or isinstance(value, str):
                yield f"{what} in its place", dotted, text_of(changed(document, dotted, wrong))
        word = misspelt(last, draw)
        renamed = changed(changed(document, dotted, ...), ".".join([*way, word]), value)
        if parent.split(".")[-1] not in ("twilio_accounts", "shared_trunks"):
            yield "misspelt", f"{parent}.{word}", text_of(renamed)
            unknown = f"{dotted}_{draw.randrange(1000)}"
            yield "an unknown key beside it", unknown, text_of(changed(document, unknown, CANARY))
        if last in REQUIRED and not parent.endswith("pbx_trunk"):
            yield "deleted", parent if last == "main" else dotted, text_of(changed(document, dotted, ...))


def malformed() -> list[tuple[str, str, str, str, str, str]]:
    """Every case: set, tenant, the file that is malformed, what was done, the key, the text."""
    draw, found = random.Random(SEED), []
    for folder, tenants in SETS.items():
        for file in ("site", *tenants):
            document = read(CHECKOUT / "parameters" / folder / f"{file}.yaml")
            tenant = tenants[0] if file == "site" else file
            found += [(folder, tenant, file, *one) for one in mutations(document, draw)]
    return found


def without_line(problem: str) -> str:
    return re.sub(r"^([^:]+):\d+:", r"\1:", problem)


def problems_of_committed(folder: str, root: Path) -> set[str]:
    """What is wrong with the committed files themselves: the example lacks what is a site's own."""
    for name in ("site", *SETS[folder]):
        shutil.copy(CHECKOUT / "parameters" / folder / f"{name}.yaml", root)
    try:
        load("site.yaml", f"{SETS[folder][0]}.yaml", root)
    except InputError as error:
        assert folder == "example"
        return {without_line(one) for one in error.problems}
    return set()


def test_three_hundred_malformed_files_are_three_hundred_clear_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    (tmp_path / ".sandbox").mkdir()
    cases = sample(malformed(), 320)
    before = {folder: problems_of_committed(folder, tmp_path) for folder in SETS}
    assert len({(folder, file, text) for folder, _, file, *_, text in cases}) == len(cases) >= 300
    contents = {
        (folder, name): read(CHECKOUT / "parameters" / folder / f"{name}.yaml")
        for folder in SETS
        for name in ("site", *SETS[folder])
    }
    wrong = []
    for folder, tenant, file, what, key, text in cases:
        (tmp_path / f"{file}.yaml").write_text(text)
        # The other file is given as its content: reading it again every time would double the time.
        given = {name: contents[folder, name] for name in ("site", tenant)} | {file: f"{file}.yaml"}
        case = f"{folder}/{file}.yaml: {key}: {what}"
        try:
            load(given["site"], given[tenant], tmp_path)
        except InputError as error:
            found = re.compile(rf"{re.escape(str(tmp_path))}/{file}\.yaml(:\d+)?: {re.escape(key)}[.:]")
            named = [
                one for one in error.problems if found.match(one) and without_line(one) not in before[folder]
            ]
            if type(error) not in (InputError, SecretError) or not named:
                wrong.append(f"{case}: {error.problems}")
            if CANARY in str(error) or "Traceback" in str(error):
                wrong.append(f"{case}: repeats the value")
        except Exception as error:  # whatever else it is, it is a bug
            wrong.append(f"{case}: {type(error).__name__}")
        else:
            wrong.append(f"{case}: was taken")
    assert wrong == []
