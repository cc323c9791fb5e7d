"""Writes what was discovered: never over an existing file, and only in the chosen folder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..parameters.plain_yaml import OTHER_WORDS
from .drafts import Drafts

#: Suffix of a file that is written beside an existing one; no parameter file has it.
BESIDE = ".discovered"
HEAD = "# Discovered: read this file before you use it, and store the passwords where its references point.\n"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Written:
    """A file that was written, or is there with the same content; ``difference`` from the one beside it."""

    path: Path
    is_new: bool
    difference: str = ""


def write_all(drafts: Drafts, site: Path, folder: Path) -> list[Written]:
    """Write each tenant's draft; and shared trunks, with the rest of the site, under the site file's name."""
    written = [write(folder, name, "tenant", data) for name, data in drafts.tenants.items()]
    if drafts.shared:
        content: dict[str, Any] = yaml.safe_load(site.read_text(encoding="utf-8"))["site"]
        content["shared_trunks"] = {**drafts.shared, **(content.get("shared_trunks") or {})}
        written.append(write(folder, site.stem, "site", content))
    return written


def write(folder: Path, name: str, key: str, content: Mapping[str, Any]) -> Written:
    """Write parameters under their top-level key; beside the file of that name if that is different."""
    text = HEAD + yaml.dump({key: content}, Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=100)
    folder.mkdir(parents=True, exist_ok=True)
    path, present = folder / f"{name}.yaml", ""
    for attempt in range(1, 1000):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            there = path.read_text(encoding="utf-8", errors="replace")
            if _content(there) == {key: content}:
                return Written(path, False)
            present = present or there
            path = folder / f"{name}.yaml{BESIDE}{'' if attempt == 1 else f'-{attempt}'}"
            continue
        lines = difflib.unified_diff(
            present.splitlines(), text.splitlines(), f"{name}.yaml", path.name, lineterm=""
        )
        return Written(path, True, "\n".join(lines) if present else "")
    raise FileExistsError(f"{path}: there are already a thousand files of this name")


def _content(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


class _Quoting(yaml.SafeDumper):
    """Puts every text in quotes that one of the two readers of YAML could take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in OTHER_WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')


_Quoting.add_representer(str, _text)
