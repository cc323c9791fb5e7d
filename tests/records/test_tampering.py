"""Whatever is changed in fifty records is found, and named by file; nothing changed is called verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib.records import chain, living, record
from runbook_lib.records.chain import Chain, Entry, digest_of_file
from runbook_lib.records.errors import RecordError
from runbook_lib.records.problems import CONSISTENT, VERIFIED, Anchor, Report
from runbook_lib.records.verify import verify_records
from tests.records.conftest import finish, make, start, work


@pytest.fixture
def records(pristine: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the fifty records, to be tampered with."""
    return shutil.copytree(pristine[0], tmp_path / "records")


@pytest.fixture
def head(pristine: tuple[Path, str]) -> str:
    return pristine[1]


def check(records: Path, head: str | None = None) -> Report:
    return verify_records(records, [Anchor(head, "the kept head")] if head else [])


def refused(records: Path, head: str, *paths: str) -> Report:
    """Not verified with the kept head, by problems of these paths; and never verified without."""
    report = check(records, head)
    assert report.status not in (VERIFIED, CONSISTENT)
    named = {one.path for one in report.problems}
    assert named.issuperset(paths), report.problems
    assert check(records).status != VERIFIED
    return report


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def lines(records: Path) -> list[bytes]:
    return Chain(records).lines()


def rewrite(records: Path, content: Sequence[bytes]) -> None:
    overwrite(records / chain.FILE_NAME, b"".join(content))


def forge(records: Path) -> None:
    """What an attacker can do who may write everywhere: every checksum and the whole chain anew."""
    forged: list[Entry] = []
    for one in Chain(records).entries():
        folder = records / one.run
        if not folder.exists():
            continue
        sums = folder / record.CHECKSUMS
        if one.event == chain.CLOSED:
            content = json.loads(sums.read_bytes())
            content["files"] = {
                name: digest_of_file(path) for name, path in sorted(record.files_of(folder).items())
            }
            overwrite(sums, (json.dumps(content, indent=1) + "\n").encode())
        content = digest_of_file(sums if one.event == chain.CLOSED else folder / record.OPENING)
        previous = forged[-1].digest if forged else None
        forged.append(Entry(len(forged), one.at, one.event, one.run, one.file, content, previous))
    rewrite(records, [one.line for one in forged])


def test_untouched_records_are_verified_with_a_head_only(records: Path, head: str) -> None:
    assert check(records, head).status == VERIFIED
    assert check(records, head).records == check(records).records
    assert len(check(records).records) == 50
    assert check(records).status == CONSISTENT


def test_one_byte_in_any_file_of_any_record(records: Path, head: str, runs: list[str]) -> None:
    changed = 0
    for number, run in enumerate(runs):
        for path in sorted((records / run).iterdir()):
            content = path.read_bytes()
            place = (number * 7919) % len(content)
            overwrite(path, content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            report = check(records, head)
            assert report.status not in (VERIFIED, CONSISTENT)
            named = {one.path for one in report.problems}
            assert f"{run}/{path.name}" in named
            assert len(named) == 1 or path.name == record.CHECKSUMS, named
            overwrite(path, content)
            changed += 1
    assert changed == 350
    assert check(records, head).status == VERIFIED


@pytest.mark.parametrize("change", ["add", "cut", "empty", "remove"])
def test_a_file_of_a_record(records: Path, head: str, runs: list[str], change: str) -> None:
    for name in (path.name for path in (records / runs[0]).iterdir()):
        path = records / runs[20] / name
        content = path.read_bytes()
        if change == "remove":
            path.unlink()
        else:
            overwrite(path, {"add": content + b" ", "cut": content[:-1], "empty": b""}[change])
        refused(records, head, f"{runs[20]}/{name}")
        overwrite(path, content) if path.exists() else path.write_bytes(content)


def test_one_byte_anywhere_in_the_chain(tmp_path: Path) -> None:
    records = tmp_path / "records"
    for number in range(2):
        make(records, f"demo/acme/run{number}")
    path, head = records / chain.FILE_NAME, Chain(records).head
    assert head is not None
    content = path.read_bytes()
    for place in range(len(content)):
        for flip in (1, 32):
            overwrite(path, content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
            report = check(records, head)
            assert report.status not in (VERIFIED, CONSISTENT), place
            assert chain.FILE_NAME in {one.path for one in report.problems}, place
    overwrite(path, content)
    assert check(records, head).status == VERIFIED


def test_an_extra_file(records: Path, head: str, runs: list[str]) -> None:
    (records / runs[3] / "06_next_steps.html").write_text("all fine")
    nested = records / runs[4] / "more"
    nested.mkdir()
    (nested / "note.txt").write_text("approved")
    refused(records, head, f"{runs[3]}/06_next_steps.html", f"{runs[4]}/more/note.txt")


def test_a_file_that_is_a_link_to_the_same_content(records: Path, head: str, runs: list[str]) -> None:
    path = records / runs[3] / record.RECORD
    path.rename(records / "elsewhere.json")
    path.symlink_to(records / "elsewhere.json")
    refused(records, head, f"{runs[3]}/{record.RECORD}")


def test_a_record_removed(records: Path, head: str, runs: list[str]) -> None:
    shutil.rmtree(records / runs[7])
    report = refused(records, head, runs[7])
    assert [one.what for one in report.problems] == ["missing: the whole record"]


def test_a_record_removed_with_its_entries(records: Path, head: str, runs: list[str]) -> None:
    shutil.rmtree(records / runs[7])
    rewrite(records, [one for one in lines(records) if runs[7].encode() not in one])
    report = refused(records, head, chain.FILE_NAME)
    assert any("entries 14 to 15 missing" in one.what for one in report.problems)


def test_the_entries_of_a_record_removed(records: Path, head: str, runs: list[str]) -> None:
    rewrite(records, [one for one in lines(records) if runs[7].encode() not in one])
    refused(records, head, chain.FILE_NAME, f"{runs[7]}/{record.CHECKSUMS}")


def test_two_records_swapped(records: Path, head: str, runs: list[str]) -> None:
    one, other, aside = records / runs[10], records / runs[30], records / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    names = [f"{run}/{record.CHECKSUMS}" for run in (runs[10], runs[30])]
    report = refused(records, head, *names)
    swapped = {problem.path: problem.what for problem in report.problems}
    assert swapped[names[0]] == f"swapped: it is that of {runs[30]}"


def test_a_file_swapped_between_two_records(records: Path, head: str, runs: list[str]) -> None:
    one, other = records / runs[10] / record.RECORD, records / runs[30] / record.RECORD
    content = one.read_bytes()
    overwrite(one, other.read_bytes())
    overwrite(other, content)
    refused(records, head, f"{runs[10]}/{record.RECORD}", f"{runs[30]}/{record.RECORD}")


@pytest.mark.parametrize("gap", [1, 2, 40])
def test_two_entries_swapped(records: Path, head: str, gap: int) -> None:
    content = lines(records)
    content[11], content[11 + gap] = content[11 + gap], content[11]
    rewrite(records, content)
    report = refused(records, head, chain.FILE_NAME)
    assert any("reordered" in one.what for one in report.problems)


def test_a_record_appended_outside_of_the_chain(records: Path, head: str, runs: list[str]) -> None:
    forged = "demo/tenant0/20270101T000000Z-abcdef"
    shutil.copytree(records / runs[0], records / forged)
    refused(records, head, f"{forged}/{record.CHECKSUMS}")


@pytest.mark.parametrize("kept", [record.RECORD, record.OPENING, record.RUN])
def test_a_part_of_a_record_appended(records: Path, head: str, runs: list[str], kept: str) -> None:
    forged = records / "demo/tenant0/20270101T000000Z-abcdef"
    forged.mkdir()
    shutil.copy(records / runs[0] / kept, forged)
    refused(records, head, f"demo/tenant0/20270101T000000Z-abcdef/{kept}")


def test_a_record_appended_with_good_entries_is_after_the_kept_head(records: Path, head: str) -> None:
    make(records, "demo/tenant0/20270101T000000Z-abcdef")
    report = check(records, head)
    assert report.status == VERIFIED and report.anchored is not None
    assert report.anchored.digest == head
    assert {one.run for one in report.after} == {"demo/tenant0/20270101T000000Z-abcdef"}


def test_an_entry_inserted_and_one_doubled(records: Path, head: str) -> None:
    content = lines(records)
    rewrite(records, [*content[:50], content[49], *content[50:]])
    assert any("twice" in one.what for one in refused(records, head, chain.FILE_NAME).problems)
    entry = Entry.parse(content[49])
    rewrite(
        records,
        [
            *content[:50],
            Entry(50, entry.at, "opened", "demo/x/y", "demo/x/y/opening.json", "", entry.digest).line,
            *content[50:],
        ],
    )
    refused(records, head, chain.FILE_NAME)


@pytest.mark.parametrize("cut", [1, 2, 3, 50, 99, 100])
def test_the_tail_cut(records: Path, head: str, runs: list[str], cut: int) -> None:
    content = lines(records)
    rewrite(records, content[: len(content) - cut])
    refused(records, head, chain.FILE_NAME)


@pytest.mark.parametrize("cut", [2, 50, 100])
def test_the_tail_cut_together_with_its_records(records: Path, head: str, runs: list[str], cut: int) -> None:
    content = lines(records)
    rewrite(records, content[: len(content) - cut])
    for run in runs[len(runs) - cut // 2 :]:
        shutil.rmtree(records / run)
    assert check(records).status == CONSISTENT  # nothing in the folder can tell
    refused(records, head, chain.FILE_NAME)


def test_the_chain_removed_or_cut_in_the_middle_of_a_line(records: Path, head: str) -> None:
    content = (records / chain.FILE_NAME).read_bytes()
    for part in (content[:-1], content[:-40], content[: len(content) // 2]):
        overwrite(records / chain.FILE_NAME, part)
        refused(records, head, chain.FILE_NAME)
    (records / chain.FILE_NAME).unlink()
    refused(records, head, chain.FILE_NAME)
    shutil.rmtree(records)
    refused(records, head, chain.FILE_NAME)


def _edit_a_notebook(records: Path, run: str) -> None:
    overwrite(records / run / "01_create_sip_trunk.ipynb", b'{"cells": ["all fine"]}')


def _remove(records: Path, run: str) -> None:
    shutil.rmtree(records / run)


def _add(records: Path, run: str) -> None:
    make(records, "demo/tenant0/20270101T000000Z-abcdef")
    _edit_a_notebook(records, run)


@pytest.mark.parametrize("change", [_edit_a_notebook, _remove, _add])
@pytest.mark.parametrize("number", [0, 25, 49])
def test_an_attacker_who_recomputes_everything(
    records: Path, head: str, runs: list[str], change: Callable[[Path, str], None], number: int
) -> None:
    change(records, runs[number])
    forge(records)
    assert check(records).status == CONSISTENT  # never verified without a head
    report = refused(records, head, chain.FILE_NAME)
    assert "cut or recreated" in report.problems[-1].what


def test_any_older_head_finds_what_was_changed_before_it(records: Path, runs: list[str]) -> None:
    entries = Chain(records).entries()
    assert all(check(records, one.digest).status == VERIFIED for one in entries[::9])
    _edit_a_notebook(records, runs[20])
    forge(records)
    for one in entries[::3]:
        closed = one.seq > 2 * 20  # the record's own closing entry and those after it
        assert (check(records, one.digest).status == VERIFIED) is not closed
        assert closed or len(check(records, one.digest).after) >= 100 - one.seq - 1


def test_a_run_that_died_is_named(tmp_path: Path) -> None:
    make(tmp_path, "demo/acme/one")
    work(start(tmp_path, "demo/acme/two"), answered=False)
    head = Chain(tmp_path).head
    assert head is not None
    going_on = check(tmp_path, head)
    assert (going_on.status, going_on.going_on) == (VERIFIED, ("demo/acme/two",))
    living.end(tmp_path / "demo/acme/two")  # as its process ends
    report = refused(tmp_path, head, "demo/acme/two")
    assert "never closed" in report.problems[0].what
    folder = tmp_path / "demo/acme/two"
    overwrite(folder / record.OPENING, b"{}")
    refused(tmp_path, head, "demo/acme/two/opening.json")
    shutil.rmtree(folder)
    refused(tmp_path, head, "demo/acme/two")


def test_plans_and_plain_papermill_are_not_vouched_for(tmp_path: Path) -> None:
    make(tmp_path, "demo/acme/one")
    loose = tmp_path / "demo/acme/two"
    loose.mkdir()
    work(loose)
    planned = tmp_path / "demo/acme/three"
    planned.mkdir()
    (planned / record.RUN).write_text('{"mode": "plan"}')
    report = check(tmp_path, Chain(tmp_path).head)
    assert report.status == VERIFIED
    assert report.unchained == ("demo/acme/three", "demo/acme/two")
    assert report.reading == ("demo/acme/three",)


@pytest.mark.parametrize("mode", ["plan", "verify", "other", None])
def test_a_copy_of_a_record_with_its_mode_changed(
    records: Path, head: str, runs: list[str], mode: str | None
) -> None:
    """Whoever says that it only read, and has a journal, is a run that wrote."""
    copy = "demo/tenant0/20270101T000000Z-abcdef"
    shutil.copytree(records / runs[0], records / copy)
    for name in (record.OPENING, record.RECORD, record.CHECKSUMS):
        (records / copy / name).unlink()
    content = json.loads((records / copy / record.RUN).read_bytes()) | {"mode": mode}
    overwrite(records / copy / record.RUN, json.dumps(content).encode())
    refused(records, head, f"{copy}/{record.RUN}")


def test_a_folder_of_a_tenant_or_a_site_that_is_a_link(
    records: Path, head: str, runs: list[str], tmp_path: Path
) -> None:
    """Named once, as nobody knows whose records are behind it."""
    for name in ("demo/tenant3", "demo"):
        real = (records / name).rename(tmp_path / "elsewhere")
        (records / name).symlink_to(real)
        report = refused(records, head, name)
        assert len({one.path for one in report.problems}) == len(report.problems) == 1
        (records / name).unlink()
        real.rename(records / name)
    (records / "demo/tenant9").symlink_to(records / "demo/tenant3")
    report = check(records, head)
    assert report.status == VERIFIED and report.strays == ("demo/tenant9",)


def test_what_is_no_signature_among_the_signatures(records: Path, head: str) -> None:
    folder = records / "signatures"
    (folder / "more").mkdir(parents=True)
    names = ["note.txt", "000001-01234567.head", "000002-01234567.head.sig", "000003-x.head"]
    for name in (*names, "000004-01234567.head", "000004-01234567.head.sig"):
        (folder / name).write_text("")
    (folder / "000005-01234567.head").symlink_to(folder / "note.txt")
    report = check(records, head)
    expected = sorted(f"signatures/{one}" for one in (*names, "more", "000005-01234567.head"))
    assert report.strays == tuple(expected)


def test_an_empty_folder_in_a_closed_record(records: Path, head: str, runs: list[str]) -> None:
    (records / runs[3] / "one" / "two").mkdir(parents=True)
    refused(records, head, f"{runs[3]}/one", f"{runs[3]}/one/two")


def test_a_record_that_somebody_has_opened_in_jupyterlab(records: Path, head: str, runs: list[str]) -> None:
    """It copies what it opens; only the very same content under that name is no part of the evidence."""
    folder = records / runs[3]
    name = next(path.name for path in folder.glob("*.ipynb"))
    copies = folder / ".ipynb_checkpoints"
    copies.mkdir()
    copy = copies / name.replace(".ipynb", "-checkpoint.ipynb")
    copy.write_bytes((folder / name).read_bytes())
    assert check(records, head).status == VERIFIED
    for other in (copies / name, copies / "more-checkpoint.ipynb", folder / copy.name):
        copy.rename(other)
        refused(records, head, other.relative_to(records).as_posix())
        other.rename(copy)
    copy.write_bytes(copy.read_bytes() + b" ")
    refused(records, head, copy.relative_to(records).as_posix())
    copy.unlink()
    copy.symlink_to(folder / name)
    refused(records, head, copy.relative_to(records).as_posix())


def test_an_empty_folder_when_a_record_is_closed_is_not_part_of_it(tmp_path: Path) -> None:
    folder = start(tmp_path, "demo/acme/one")
    work(folder)
    (folder / ".ipynb_checkpoints" / "deep").mkdir(parents=True)
    finish(tmp_path, folder)
    assert check(tmp_path).status == CONSISTENT


def test_what_lies_between_the_records_is_named(tmp_path: Path) -> None:
    make(tmp_path, "demo/acme/one")
    strays = ["record.json", "demo/note.txt", "demo/acme/one.html", "demo/acme/withheld/two"]
    for name in strays:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("two") else path.write_text("")
    for name in (".chain.lock", ".gitattributes", "index.html", "demo/sign-in-refused.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "demo/acme/.one").mkdir()
    report = check(tmp_path, Chain(tmp_path).head)
    assert report.strays == tuple(sorted(strays))
    assert report.unchained == () and report.unopened == ("demo/acme/.one",)


def test_a_withheld_record_is_said_to_be_withheld(tmp_path: Path) -> None:
    folder = start(tmp_path, "demo/acme/one")
    work(folder)
    finish(tmp_path, folder)
    (folder.parent / "withheld").mkdir()
    folder.rename(folder.parent / "withheld" / folder.name)
    report = check(tmp_path)
    assert [one.what for one in report.problems] == ["withheld: a secret was found in it"]


def test_lines_of_format_1_stay_in_front_of_newer_ones(records: Path) -> None:
    """What an older runbook wrote is verified as it is, and continued."""
    former: list[Entry] = []
    for entry in Chain(records).entries():
        digest = former[-1].digest if former else None
        former.append(replace(entry, format=1, previous=digest))
    assert b'"file"' not in former[0].line
    rewrite(records, [entry.line for entry in former])
    make(records, "demo/tenant0/20270101T000000Z-abcdef")
    entries = Chain(records).entries()
    assert [entry.format for entry in entries] == [1] * len(former) + [2, 2]
    assert check(records, former[-1].digest).status == VERIFIED
    overwrite(records / former[0].file, b"{}")
    refused(records, former[-1].digest, former[0].file)


def test_an_event_of_another_kind_is_covered_like_any_other(records: Path) -> None:
    """Readers pass over events that they do not know, and still compare their files."""
    entry = Chain(records).record("walked the dog", None, {"format": 1, "by": "pat"})
    assert check(records, entry.digest).status == VERIFIED
    assert check(records, entry.digest).strays == ()
    overwrite(records / entry.file, b"{}")
    refused(records, entry.digest, entry.file)
    (records / entry.file).unlink()
    refused(records, entry.digest, entry.file)


def test_a_newer_format_is_named_as_newer(records: Path) -> None:
    content = lines(records)
    newer = content[-1].replace(b'"format": 2', b'"format": 3')
    rewrite(records, [*content[:-1], newer])
    (problem,) = [one for one in check(records).problems if one.path == chain.FILE_NAME]
    assert "format 3" in problem.what and "newer" in problem.what
    with pytest.raises(RecordError, match="format 3"):
        Chain(records).entries()
