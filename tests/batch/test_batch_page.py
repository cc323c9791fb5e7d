"""The page over one batch: why a tenant failed, in words that an operator knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import runbook_lib.records.errors  # noqa: F401 - it has an error of its own
from runbook_lib.batch.batch_file import Batch, Part
from runbook_lib.batch.pages import write_batch_page
from runbook_lib.errors import RunbookError, UnreachableError, VendorError, cause_in_words, cause_of


def kinds(kind: type[Exception] = RunbookError) -> list[type[Exception]]:
    return [below for child in kind.__subclasses__() for below in (child, *kinds(child))]


CAUSES = [
    *((kind.__name__,) for kind in kinds()),
    ("PermissionError", "13"),
    ("OSError", "28"),
    ("LostWorkerError",),
    ("process", "-9"),
    ("KeyError",),
    cause_of(VendorError("refused", vendor="Twilio", status=503, code=20503)),
]


def test_no_cause_is_the_name_of_a_class(tmp_path: Path) -> None:
    assert len(CAUSES) > 20
    parts = [Part(f"{number}.yaml", outcome="failed", cause=[*cause]) for number, cause in enumerate(CAUSES)]
    batch = Batch.new(tmp_path, target="sandbox", site="site.yaml", mode="apply", parts=parts)
    batch.folder.mkdir(parents=True)
    page = write_batch_page(batch).read_text()
    words = re.sub("<[^>]*>", " ", page.partition("<main>")[2])
    assert re.findall(r"\b\w+Error\b", words) == []
    assert "Twilio, 503, 20503" in words


@pytest.mark.parametrize("kind", kinds())
def test_every_error_of_ours_has_words_of_its_own(kind: type[Exception]) -> None:
    assert cause_in_words([kind.__name__]) != cause_in_words(["KeyError"])


def test_a_cause_says_what_the_vendor_and_the_system_said() -> None:
    away = cause_of(UnreachableError("away", vendor="PortSIP", status=None))
    assert cause_in_words(away).endswith("(PortSIP)")
    assert "No space left" in cause_in_words(cause_of(OSError(28, "full")))
    assert cause_in_words([]) == ""
