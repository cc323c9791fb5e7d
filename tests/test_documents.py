"""What is generated is up to date, and what the README promises is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from runbook_lib.parameters import field_table, json_schema
from tests.conftest import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_schema_is_the_models() -> None:
    written = json.loads((CHECKOUT / "parameters" / "schema.json").read_text())
    assert written == json.loads(json.dumps(json_schema())), "run: make schema"


def test_readme_lists_every_parameter() -> None:
    table = README.split("<!-- parameters:begin -->")[1].split("<!-- parameters:end -->")[0]
    assert table.strip().splitlines() == list(field_table()), "run: make schema"


def test_readme_names_only_files_that_exist() -> None:
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (CHECKOUT / path).exists(), path


def test_nothing_names_a_download_address_or_a_path_of_one_machine() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout
    for name in files.split():
        if name.startswith(("constraints", "Makefile", "pyproject", ".ci/")):
            text = (CHECKOUT / name).read_text(encoding="utf-8")
            assert not re.search(r"https?://|index-url|/root/|/home/", text), name


def test_importing_the_library_is_cheap() -> None:
    heavy = ("pandas", "twilio", "httpx", "pydantic")
    code = f"import sys, runbook_lib; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
