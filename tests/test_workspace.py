"""The workspace: made, found, moved, cleaned; nothing of it is lost and nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runbook_lib import product, working_copies, workspace
from runbook_lib.cli.workspace import _settings_step
from runbook_lib.errors import InputError, SecretError
from runbook_lib.notebook.served import Served
from runbook_lib.parameters import load
from runbook_lib.paths import CREDENTIALS
from runbook_lib.records.record import open_record
from runbook_lib.records.run_folder import OPENING
from runbook_lib.version import VERSION
from runbook_lib.workspace import FILE, find_workspace, settings_text, work_tree_of
from tests.conftest import CHECKOUT, TestSandbox

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
VARIABLES = (workspace.VARIABLE, workspace.OLD_VARIABLE)


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    forget()


def forget() -> None:
    """As a process that has just started."""
    workspace._found.cache_clear()
    workspace.read_workspace.cache_clear()


def make(folder: Path, records: str = "records") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(settings_text(VERSION, records))
    return folder


def runbook(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-P", "-c", "from runbook_lib.cli import main; main()", *arguments],
        cwd=folder,
        env=given | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


# --- finding it


def test_it_is_the_nearest_one_upward_and_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = make(tmp_path / "outer")
    inner = make(outer / "inner")
    (inner / "work" / "demo").mkdir(parents=True)
    (outer / "beside").mkdir()
    for folder, expected in ((inner / "work/demo", inner), (outer / "beside", outer), (outer, outer)):
        forget()
        monkeypatch.chdir(folder)
        assert find_workspace().folder == expected
    monkeypatch.chdir(inner)  # as a cell may do: a run keeps its records where it began
    assert find_workspace().folder == outer


def test_a_named_one_comes_before_the_folder_and_the_new_name_before_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, named, old = (make(tmp_path / name) for name in ("here", "named", "old"))
    monkeypatch.chdir(here)
    monkeypatch.setenv(workspace.OLD_VARIABLE, str(old))
    assert find_workspace().folder == old
    monkeypatch.setenv(workspace.VARIABLE, "../named")
    assert find_workspace().folder == named
    monkeypatch.chdir(tmp_path)  # it was relative, and means the same for all processes of the run
    assert find_workspace().folder == named


def test_without_one_it_is_the_checkout_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_workspace().folder == CHECKOUT
    forget()
    other = tmp_path / "another checkout"
    for part in ("pyproject.toml", "notebooks/x", "runbook_lib/__init__.py"):
        (other / part).parent.mkdir(parents=True, exist_ok=True)
        (other / part).touch()
    monkeypatch.chdir(other / "notebooks")
    assert find_workspace().folder == other
    forget()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(product, "CHECKOUT", None)
    with pytest.raises(InputError, match="no workspace") as caught:
        find_workspace()
    assert "runbook init" in str(caught.value)


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_name_that_leads_to_no_workspace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "not there"))
    with pytest.raises(InputError, match="not there"):
        find_workspace()
    monkeypatch.setenv(variable, str(tmp_path))
    if variable == workspace.VARIABLE:
        with pytest.raises(InputError, match=FILE):
            find_workspace()
    else:  # as it was before there was a file
        assert find_workspace().records == tmp_path / "records"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("format = 2\nmade_with = '9.8.7'\nshape = 'new'\n", r"newer runbook \(format 2, version 9\.8\.7\)"),
        ("made_with = '0.1'\n", "format"),
        ("format = 1\nrecord = 'x'\n", "record: unknown key"),
        ("format = 1\nrecords = 7\n", "records: write text"),
        ("format = 1\nrecords = ''\n", "records: write text"),
        ("format = \n", "not readable TOML"),
        ("\x00", "not readable TOML"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, named: str
) -> None:
    (tmp_path / FILE).write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=named):
        find_workspace()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
def test_settings_of_another_account_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    os.chown(tmp_path / FILE, 4711, -1)
    with pytest.raises(InputError, match="another account"):
        find_workspace()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert find_workspace().folder == tmp_path
    forget()
    os.chown(tmp_path / FILE, 0, -1)
    assert find_workspace().folder == tmp_path


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_another_accounts_checkout_is_no_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("notebooks", "runbook_lib", "within"):
        (tmp_path / name).mkdir()
    for name in ("pyproject.toml", "runbook_lib/__init__.py"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "within")
    assert find_workspace().folder == tmp_path
    os.chown(tmp_path, 4711, -1)
    forget()
    with pytest.raises(InputError, match="another account"):
        find_workspace()


@pytest.mark.parametrize("place", ["~nobody-of-this-name/x", "records\0"])
def test_a_place_that_is_no_path_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(make(tmp_path))
    (tmp_path / FILE).write_text(
        settings_text(VERSION, "PLACE").replace("PLACE", place.replace("\0", "\\u0000"))
    )
    with pytest.raises(InputError):
        find_workspace()
    forget()
    (tmp_path / FILE).unlink()
    if "\0" not in place:
        monkeypatch.setenv(workspace.VARIABLE, place)
        with pytest.raises(InputError):
            find_workspace()


def test_a_link_in_the_settings_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "elsewhere")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere" / FILE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="link"):
        find_workspace()


# --- making it


def test_init_overwrites_nothing_and_makes_no_half_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    refused = runbook(tmp_path, "init", "new")  # nobody can be asked
    assert refused.returncode == 3 and "--records" in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    made = runbook(tmp_path, "init", "new", "--records", "kept/here")
    assert made.returncode == 0, made.stderr
    assert (folder / "README.md").read_text() == "mine"
    assert workspace.read_workspace(folder) == workspace.Workspace(folder, tmp_path / "kept/here", VERSION)
    assert (folder / "parameters/example/site.yaml").is_file() and not (
        folder / "parameters/sandbox"
    ).exists()
    content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = runbook(tmp_path, "init", "new", "--sandbox")
    assert again.returncode == 3 and "already" in again.stderr
    assert content == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    demo = runbook(folder, "demo")
    assert demo.returncode == 3 and "no such site file" in demo.stderr and "--sandbox" in demo.stderr
    assert not (folder / ".sandbox").exists()


def test_init_can_be_repeated_where_the_records_had_no_place(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").touch()
    folder = str(tmp_path / "made")
    assert runbook(tmp_path, "init", folder, "--records", str(tmp_path / "in-the-way/x")).returncode == 1
    again = runbook(tmp_path, "init", folder, "--records", str(tmp_path / "kept"))
    assert again.returncode == 0 and (tmp_path / "kept").is_dir(), again.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
def test_an_upgrade_leaves_the_settings_to_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path)
    (folder / FILE).write_text(settings_text("0.1.0", "records"))
    before = (folder / FILE).read_text()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)  # root's file, another account's upgrade
    with pytest.raises(InputError, match="another account"):
        list(_settings_step(find_workspace()))
    assert (folder / FILE).read_text() == before


def test_init_keeps_live_records_out_of_every_work_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    (tmp_path / "link").symlink_to(tree)
    for place in (tree / "records", tree / "deep/er", tmp_path / "link" / "records"):
        refused = runbook(tmp_path, "init", "ws", "--records", str(place))
        assert refused.returncode == 3 and "git work tree" in refused.stderr
    assert not (tmp_path / "ws").exists() and work_tree_of(tmp_path) is None
    assert runbook(tree, "init", "ws", "--sandbox").returncode == 0  # there is nothing to lose


@pytest.mark.parametrize("place", ["workspace", "records"])
def test_nothing_is_kept_in_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    inside = Path(sys.prefix) / "ws"
    folder, records = (inside, tmp_path) if place == "workspace" else (tmp_path / "ws", inside)
    refused = runbook(tmp_path, "init", str(folder), "--records", str(records))
    assert refused.returncode == 3 and "packages are installed" in refused.stderr
    assert not inside.exists() and not (tmp_path / "ws").exists()
    root = Path(sys.prefix) if place == "workspace" else make(tmp_path / "ws", str(inside))
    monkeypatch.setenv(workspace.OLD_VARIABLE, str(root))
    with pytest.raises(InputError, match="packages are installed"):
        find_workspace()


# --- living in it


@pytest.mark.parametrize("target", ["live", "sandbox"])
@pytest.mark.parametrize("is_tree", [True, False])
def test_a_live_run_whose_records_git_can_delete_says_so(tmp_path: Path, target: str, is_tree: bool) -> None:
    if is_tree:
        (tmp_path / ".git").write_text("gitdir: elsewhere\n")  # a worktree has a file there
    folder = tmp_path / "records/demo/acme/20261126T000000Z-abcdef"
    known = {"mode": "apply", "site": "demo", "tenant": "acme", "order": ("01",)}
    where = {"target": target, "twilio_account": "AC", "pbx": "pbx"}
    open_record(tmp_path / "records", folder, **known, target=where, parameters={}, files={})
    notes = json.loads((folder / OPENING).read_text())["notes"]
    assert any("git work tree" in note for note in notes) == (is_tree and target == "live")


def test_git_clean_and_a_move_lose_no_record(tmp_path: Path) -> None:
    """And git's status shows what the operator changed, and nothing else."""
    folder, kept = tmp_path / "ws", tmp_path / "kept"
    made = runbook(tmp_path, "init", "ws", "--sandbox", "--records", "kept")
    assert made.returncode == 0, made.stderr

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=ops", "-c", "user.email=ops@example.com"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "ours")
    (folder / "runbook_lib").mkdir()  # what lies in a workspace is never imported
    (folder / "runbook_lib/__init__.py").write_text("raise SystemExit('not the product')\n")
    try:
        applied = runbook(folder, "apply", "--section", "01", "-s", SITE, ACME)
        assert applied.returncode == 0, applied.stdout + applied.stderr
        first = applied.stdout.splitlines()[0]
        assert all(text in first for text in (str(folder), str(kept), "demo", VERSION))
        shutil.rmtree(folder / "runbook_lib")
        site = folder / SITE
        site.write_text(site.read_text() + "# ours\n")
        assert git("status", "--porcelain") == f" M {SITE}\n"
        (run,) = kept.glob("demo/acme/*/opening.json")
        told = json.loads(run.read_text())
        assert (told["workspace"], told["records"]) == (str(folder), str(kept))
        assert told["files"] == {"site": SITE, "tenant": ACME}
    finally:
        runbook(folder, "sandbox", "--stop")
    shutil.copytree(folder / ".sandbox", tmp_path / "sandbox")  # the simulated vendors, which git cleans away
    git("clean", "-qffdx")
    moved = folder.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "sandbox", moved / ".sandbox")
    verified = runbook(moved, "records", "verify")
    assert verified.returncode == 0 and "1 closed records" in verified.stdout, verified.stdout
    try:
        back = runbook(moved, "rollback", run.parent.name, "--accept-interruption")
        assert back.returncode == 2, back.stdout + back.stderr
        elsewhere = runbook(tmp_path, "--workspace", "moved", "records", "list")
        assert elsewhere.returncode == 0 and run.parent.name in elsewhere.stdout
    finally:
        runbook(moved, "sandbox", "--stop")


def test_the_version_says_what_runs_where(tmp_path: Path) -> None:
    folder = make(tmp_path / "ws")
    told = runbook(tmp_path, "--workspace", "ws", "--version")
    assert told.returncode == 0
    assert told.stdout.startswith(f"runbook {VERSION}\nsource sha256:")
    assert f"workspace {folder}\n" in told.stdout and sys.executable in told.stdout


def test_the_change_log_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None and newest[1] == VERSION


# --- files that parameter files name


def tenant(folder: Path, password: str) -> Path:
    text = (CHECKOUT / ACME).read_text().replace("file:.sandbox/secrets/sip_password_acme", password)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "acme.yaml").write_text(text)
    return folder / "acme.yaml"


def test_a_credential_of_systemd(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tenant(tmp_path, "file:$CREDENTIALS_DIRECTORY/sip")
    with pytest.raises(SecretError, match="CREDENTIALS_DIRECTORY/sip"):
        load(sandbox.root / SITE, path, sandbox.root)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/sip").write_text("Of-systemd-Passw0rd")
    monkeypatch.setenv(CREDENTIALS, str(tmp_path / "credentials"))
    assert load(sandbox.root / SITE, path, sandbox.root)[1].name == "acme"


def test_the_old_reading_of_a_reference_is_a_caution(sandbox: TestSandbox, tmp_path: Path) -> None:
    path = tenant(sandbox.root / "parameters/ours", "file:secrets/sip")
    (sandbox.root / "secrets").mkdir()
    (sandbox.root / "secrets/sip").write_text("In-the-w0rkspace-1")
    os.chmod(sandbox.root / "secrets/sip", 0o600)
    try:
        environment = sandbox.environment
        old = runbook(sandbox.root, "validate", "-s", SITE, str(path), **environment)
        assert old.returncode == 0 and str(path.parent) in old.stderr and "password" in old.stderr
        (sandbox.root / "secrets").rename(path.parent / "secrets")
        beside = runbook(sandbox.root, "validate", "-s", SITE, str(path), **environment)
        assert beside.returncode == 0 and beside.stderr == ""
        demo = runbook(sandbox.root, "validate", "-s", SITE, ACME, **environment)
        assert demo.returncode == 0 and demo.stderr == ""
    finally:
        shutil.rmtree(sandbox.root / "secrets", ignore_errors=True)


def test_a_path_in_passed_content_means_one_file(sandbox: TestSandbox, tmp_path: Path) -> None:
    import yaml

    content = yaml.safe_load(tenant(tmp_path / "tenant", "file:secrets/sip").read_text())
    beside = tmp_path / "site"
    beside.mkdir()
    shutil.copy(sandbox.root / SITE, beside / "site.yaml")
    (beside / "secrets").mkdir()
    (beside / "secrets/sip").write_text("Beside-the-s1te-file")
    with pytest.raises(InputError) as caught:
        load(beside / "site.yaml", content, sandbox.root)
    assert str(beside / "secrets/sip") in str(caught.value)
    (sandbox.root / "secrets").mkdir()
    try:
        (sandbox.root / "secrets/sip").write_text("In-the-w0rkspace-1")
        with pytest.raises(InputError, match="the two differ"):
            load(beside / "site.yaml", content, sandbox.root)
        shutil.rmtree(beside / "secrets")
        assert load(beside / "site.yaml", content, sandbox.root)[1].name == "acme"
    finally:
        shutil.rmtree(sandbox.root / "secrets")


# --- working copies and upgrades


def test_working_copies_are_for_one_tenant_and_are_renewed_unless_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = shutil.copytree(CHECKOUT / "notebooks", tmp_path / "shipped")
    monkeypatch.setattr(working_copies, "NOTEBOOKS", shipped)
    folder = tmp_path / "work/bigtel/acme"
    parameters = {"site": "parameters/bigtel/site.yaml", "tenant": 'parameters/"odd" ö.yaml'}
    assert working_copies.make(folder, parameters) == []
    # What is about a whole site is the workspace's, not a tenant's.
    shipped_names = {path.name for path in shipped.glob("*.ipynb")}
    assert {path.name for path in folder.iterdir()} == shipped_names - {*working_copies.OF_THE_SITE}
    for path in folder.iterdir():
        (cell,) = [one for one in json.loads(path.read_text())["cells"] if one["id"] == "parameters"]
        values: dict[str, object] = {}
        exec("".join(cell["source"]), values)
        assert {name: values[name] for name in parameters} == parameters
        assert values.get("mode", "plan") == "plan"  # the form has none
    first, second, third, *_ = sorted(folder.iterdir())
    edit(
        first, outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}]
    )  # that it ran is no change
    edit(second, source="# a note\n")
    assert [(one.path, one.is_unchanged) for one in working_copies.copies(tmp_path)][:3] == [
        (first, True),
        (second, False),
        (third, True),
    ]
    assert all(one.is_of_this_version == (one.path != second) for one in working_copies.copies(tmp_path))
    for source in (shipped / first.name, shipped / second.name):
        edit(source, source="# of the next version\n")
    by_path = {one.path: one for one in working_copies.copies(tmp_path)}
    assert not by_path[first].is_of_this_version and by_path[third].is_of_this_version
    by_path[first].renew()
    assert working_copies.Copy.at(first).is_of_this_version and "next version" in first.read_text()
    # For another file of the tenant: what somebody has changed stays as it is, and is named.
    other = parameters | {"tenant": "parameters/moved.yaml"}
    assert [one.path for one in working_copies.make(folder, other)] == [second]
    assert working_copies.Copy.at(third).parameters == other and "a note" in second.read_text()


def test_the_home_page_is_a_working_copy_of_the_workspace(tmp_path: Path) -> None:
    home = working_copies.make_home(tmp_path, None)
    assert home == tmp_path / "work/index.ipynb"
    assert working_copies.cells_of(json.loads(home.read_text())) == working_copies.cells_of(
        json.loads((CHECKOUT / "notebooks/index.ipynb").read_text())
    )
    # For another site it is made again, as long as nobody has changed it; an upgrade renews it.
    working_copies.make_home(tmp_path, tmp_path / "parameters/big/site.yaml")
    copy = working_copies.Copy.at(home)
    assert copy.parameters == {"site": "parameters/big/site.yaml"} and copy.is_unchanged
    # Beside it lies what is about a whole site as well.
    assert {one.path.name for one in working_copies.copies(tmp_path)} == {*working_copies.OF_THE_SITE}


def test_each_form_and_each_edited_copy_is_for_whom_it_says(tmp_path: Path) -> None:
    site, other = tmp_path / "parameters/big/site.yaml", tmp_path / "parameters/b/site.yaml"
    whose = [(site, site.with_name("a.yaml")), (site, site.with_name("b.yaml")), (site, None), (other, None)]
    forms = [working_copies.make_form(tmp_path, *files) for files in whose]
    assert len({path for path, _ in forms}) == len(whose) and not any(changed for _, changed in forms)
    for (path, _), (_, tenant) in zip(forms, whose, strict=True):
        copy = working_copies.Copy.at(path)
        assert copy and copy.parameters.get("tenant") == (tenant and f"parameters/big/{tenant.name}")
    # Somebody has written another tenant into a cell: what it says counts, not for whom it was made.
    files = (site, "big", site.with_name("a.yaml"), "a")
    folder, changed = working_copies.make_for(tmp_path, *files)
    assert changed == []
    page = folder / "tenant.ipynb"
    notebook = json.loads(page.read_text())
    (cell,) = [one for one in notebook["cells"] if one["id"] == "parameters"]
    cell["source"] = [line.replace("a.yaml", "b.yaml") for line in cell["source"]]
    page.write_text(json.dumps(notebook))
    _, changed = working_copies.make_for(tmp_path, *files)
    assert [(copy.path, copy.parameters["tenant"]) for copy in changed] == [(page, "parameters/big/b.yaml")]


def test_lab_opens_no_page_of_another_tenant_as_this_ones(sandbox: TestSandbox) -> None:
    files = (sandbox.root / SITE, "demo", sandbox.root / ACME, "acme")
    folder, _ = working_copies.make_for(sandbox.root, *files)
    page = folder / "tenant.ipynb"
    page.write_text(page.read_text().replace("acme.yaml", "globex.yaml"))
    before = page.read_bytes()
    ended = runbook(sandbox.root, "lab", "-s", SITE, ACME, **sandbox.environment)
    assert ended.returncode == 3 and "globex.yaml" in ended.stderr and page.read_bytes() == before


def test_what_nothing_uses_any_longer_is_removed_if_nobody_has_changed_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "ws")
    site = folder / SITE
    form, _ = working_copies.make_form(folder, site)
    working_copies.make_home(folder, site)
    work = folder / "work"
    left = work / "parameters.ipynb"  # where an earlier version had the form
    gone = work / "demo/acme/07_gone.ipynb"  # of a notebook that an earlier version had
    gone.parent.mkdir(parents=True)
    for path in (left, gone):
        shutil.copy(form, path)
    notes = work / "notes.ipynb"  # somebody's own
    notes.write_text("{}")
    before = {path: path.read_bytes() for path in work.rglob("*.ipynb")}
    assert runbook(folder, "upgrade").stdout.count("Would do: remove") == 2
    assert before == {path: path.read_bytes() for path in work.rglob("*.ipynb")}
    edit(gone, source="# a note\n")
    done = runbook(folder, "upgrade", "--apply")
    assert done.returncode == 0 and not left.exists() and gone.exists() and gone.name in done.stdout
    assert notes.name not in done.stdout
    assert {path for path in before if not path.exists()} == {left}
    left.write_text("{}")  # somebody's own at the same place is left there as well, and named
    again = runbook(folder, "upgrade", "--apply")
    assert left.read_text() == "{}" and left.name in again.stdout


def edit(path: Path, **changes: object) -> None:
    notebook = json.loads(path.read_text())
    notebook["cells"][-1] |= changes
    path.write_text(json.dumps(notebook))


def test_an_upgrade_shows_first_and_then_does(tmp_path: Path) -> None:
    folder = make(tmp_path / "ws")
    (folder / FILE).write_text(f"# ours\n{settings_text('0.1.9', 'kept')}")
    working_copies.make(folder / "work/demo/acme", {"site": SITE, "tenant": ACME})
    changed, old, *_ = sorted((folder / "work/demo/acme").iterdir())
    for path in (changed, old):  # as an older version made them
        notebook = json.loads(path.read_text())
        notebook["cells"][-1]["source"] = "# of the last version\n"
        notebook["metadata"][working_copies.OWN]["cells"] = working_copies._digest(notebook)
        path.write_text(json.dumps(notebook))
    edit(changed, source="# of the last version, and a note\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shown = runbook(folder, "upgrade")
    assert shown.returncode == 0 and shown.stdout.count("Would do") == 2 and old.name in shown.stdout
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = runbook(folder, "upgrade", "--apply")
    assert done.returncode == 0 and done.stdout.count("Done") == 2, done.stdout
    assert changed.read_bytes() == before[changed] and changed.name in done.stdout
    assert "last version" not in old.read_text()
    assert (folder / FILE).read_text() == f"# ours\n{settings_text(VERSION, 'kept')}"
    assert "Nothing to do" in runbook(folder, "upgrade").stdout


def test_a_workspace_of_a_newer_version_is_not_set_back(tmp_path: Path) -> None:
    folder = make(tmp_path / "ws")
    (folder / FILE).write_text(settings_text("999.0", "kept"))
    done = runbook(folder, "upgrade", "--apply")
    assert done.returncode == 0 and "newer" in done.stdout
    assert (folder / FILE).read_text() == settings_text("999.0", "kept")


# --- links in a page


def test_links_lead_where_the_server_shows_the_file(tmp_path: Path) -> None:
    ws = tmp_path / "ws"
    (ws / "work/demo").mkdir(parents=True)
    (ws / "records").mkdir()
    (tmp_path / "alias").symlink_to(ws)
    (ws / "linked").symlink_to(ws / "work/demo")
    record = ws / "records/index.html"
    for here, root, link in (
        (ws / "work/demo", ws, "../../records/index.html"),
        (ws / "work/demo", tmp_path, "../../records/index.html"),
        (tmp_path / "alias/work/demo", tmp_path / "alias", "../../records/index.html"),
        (ws / "work/demo", tmp_path / "alias", "../../records/index.html"),
        (ws / "linked", ws, "../records/index.html"),  # the server knows the link's own place
        (ws / "work/demo", ws / "work", None),
        (tmp_path, ws, None),
        (ws / "work/demo", None, "../../records/index.html"),
    ):
        assert Served(here, root).link(record) == link, (here, root)


# --- where it runs


@pytest.mark.parametrize(
    "code", ["import runbook_lib", "import runpy; runpy.run_path('install.py')['main']('')"]
)
def test_windows_is_told_in_one_sentence(code: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.platform = 'win32'; {code}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert ended.stderr.count("\n") == 1 and "WSL 2" in ended.stderr and "Traceback" not in ended.stderr
