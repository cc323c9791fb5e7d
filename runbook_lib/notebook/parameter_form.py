"""Parameters as a form: a site, a tenant and a mode from lists, and every parameter of the tenant.

What is typed is checked at once, by the checks of ``runbook validate`` and in its words. The file is written
after its difference was shown, with its comments, and never over a change that somebody made in the meantime.
Nothing is sent to a vendor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from .. import working_copies
from ..errors import InputError, RunbookError
from ..parameters import load_site, project_root
from ..parameters.draft import EXAMPLES, KEY, Draft, tenant_fields
from ..parameters.layout import Layout
from ..parameters.loading import ParameterProblem, check_text
from ..parameters.tenants import site_files, tenant_files
from ..paths import current_folder, locate, near
from ..plain_files import describe, read
from .display import Box, Shown, visible
from .failures import told_plainly
from .home import BANNERS
from .outgoing import filter_kernel_output
from .passing import check_passed
from .served import Served
from .widgets import WithWidget, is_watched

if TYPE_CHECKING:
    from ..parameters import Site
    from .panel import ParameterPanel

MODES = {"plan": "plan: show what would change", "verify": "verify: compare with the guide's results"}
#: The example without rules of a country comes first.
FIRST_EXAMPLE = "dental"
UNKNOWN_TARGET = "The site's file is wrong, so whether this is a real telephone service is unknown"
FIXED_NAME = (
    "Records, working copies and everything that the runbook creates at both vendors have this "
    "name, so it cannot be changed. For another name, begin a new tenant."
)
#: What changes a file; each of these says which file it is for, and which fields were shown.
_EDITS = frozenset({"set", "add", "remove"})
#: What shows another file.
_LEAVING = frozenset({"site", "tenant", "new"})


def open_parameters(site: str | Path | None = None, tenant: str | Path | None = None) -> ParameterForm:
    """Return the form for a site's tenant; ``None`` for the first of each. Sends no request."""
    filter_kernel_output()
    with told_plainly():
        check_passed("plan", (), of_all=("site", "tenant"))
        return ParameterForm(site, tenant)


class ParameterForm:
    """The form's state: which file it edits, and what it shows of it.

    Parameters
    ----------
    site, tenant
        Paths as they are typed; ``None`` for the first site below ``parameters/``, and its first tenant.

    Raises ``InputError`` where there is no such file.
    """

    def __init__(self, site: str | Path | None = None, tenant: str | Path | None = None) -> None:
        self._root = project_root()
        self._turn = threading.RLock()
        self._panel: ParameterPanel | None = None
        self._sites = site_files(self._root)
        if site is None and not self._sites:
            raise InputError(
                [f"there is no site file below {self._root / 'parameters'}"],
                next_step="copy parameters/example to a folder of your own there, and fill it in",
            )
        self._site = self._sites[0] if site is None else self._located(site, "site")
        self._mode, self._said = "plan", ""
        self._shape = self._offer = 0
        #: What the page waits for until it is answered.
        self._answered: object = None
        self._draft: Draft | None = None
        self._warned: dict[str, Any] = {}
        self._difference: list[str] = []
        #: What was typed in the place of a reference and is none: it is not kept, only what is wrong with it.
        self._refused: dict[tuple[str | int, ...], str] = {}
        self._findings: list[ParameterProblem] = []
        files = self._tenants
        chosen = self._located(tenant, "tenant") if tenant is not None else files[0] if files else None
        if chosen is not None:
            self._begin(lambda: Draft.open(chosen))

    @property
    def draft(self) -> Draft | None:
        """The tenant's file as it would be written; ``None`` while none is chosen."""
        return self._draft

    def show(self) -> Shown:
        """Show the form; where nobody watches, what is wrong with the tenant's file."""
        if not is_watched():
            return self._as_text()
        if self._panel is None:
            from .panel import ParameterPanel

            self._panel = ParameterPanel(self._view(), self.answered)
        return WithWidget(
            Box("info", "The form is shown whenever this cell runs.", ("Run all cells.",)), self._panel
        )

    def answered(self, content: Mapping[str, Any]) -> None:
        """Do what a person asked for."""
        acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "site": self._choose_site,
            "tenant": self._choose_tenant,
            "mode": self._choose_mode,
            "new": self._new,
            "set": self._set,
            "add": self._add,
            "remove": self._remove,
            "compare": self._compare,
            "reload": self._reload,
            "save": self._save,
            "open": self._open,
        }
        act = acts.get(str(content.get("do")))
        if act is None:
            return
        with self._turn:
            self._said, self._answered = "", content.get("ask", self._answered)
            shown = content.get("file"), content.get("shape")
            try:
                if content.get("do") in _EDITS and shown != (self._file, self._shape):
                    raise InputError(
                        ["What you typed last was for fields that are no longer shown, so it was discarded"],
                        next_step="type it again here, if it belongs here",
                    )
                self._keep_unwritten(content)
                act(content)
            except (RunbookError, OSError) as error:
                self._said = _told(error)
            if self._panel is not None:
                self._panel.view = self._view()

    def _keep_unwritten(self, content: Mapping[str, Any]) -> None:
        """Refuse, once, what would lose changes; whoever asks for the same again means it."""
        asked = {name: part for name, part in content.items() if name not in ("file", "shape", "ask")}
        warned, self._warned = self._warned, asked
        if content.get("do") not in _LEAVING or warned == asked:
            return
        if self._draft is not None and self._draft.is_changed:
            raise InputError(
                [f"{self._file} has changes that are not written yet: write or discard them first"],
                next_step="to discard them, make the same choice again",
            )

    def _choose_site(self, content: Mapping[str, Any]) -> None:
        chosen = [path for path in self._sites if near(path, self._root) == content.get("site")]
        if chosen:
            self._site, self._draft, self._findings = chosen[0], None, []
            self._shape += 1
            self._difference = []
            files = self._tenants
            if files:
                self._begin(lambda: Draft.open(files[0]))

    def _choose_tenant(self, content: Mapping[str, Any]) -> None:
        chosen = [path for path in self._tenants if near(path, self._root) == content.get("tenant")]
        if chosen:
            self._begin(lambda: Draft.open(chosen[0]))

    def _choose_mode(self, content: Mapping[str, Any]) -> None:
        if content.get("mode") in MODES:
            self._mode = str(content["mode"])

    def _new(self, content: Mapping[str, Any]) -> None:
        name, example = str(content.get("name", "")), str(content.get("example", ""))
        if example not in _examples():
            raise InputError(
                [f"example: there is no example of this name; there are {', '.join(_examples())}"]
            )
        site = load_site(self._site, self._root)
        path = self._site.parent / f"{name}.yaml"
        # It becomes a file's name, so it is checked before there is one.
        wrong = _wrong_name(name)
        if wrong:
            raise InputError([f"tenant.name: {wrong}"])
        if path.exists() or path.is_symlink():
            raise InputError([f"{near(path, self._root)} already exists"], next_step="choose another name")
        self._begin(lambda: Draft.new(path, site.name, name, example))

    def _set(self, content: Mapping[str, Any]) -> None:
        path = _path(content)
        assert self._draft is not None, "there are fields"
        if path == ("name",) and self._has_fixed_name:
            raise InputError([f"{KEY}.name: {FIXED_NAME}"])
        try:
            self._draft.set(path, content.get("value"))
            self._refused.pop(path, None)
        except InputError as error:
            self._refused[path] = _told(error)
        self._check()

    def _add(self, content: Mapping[str, Any]) -> None:
        assert self._draft is not None, "there are fields"
        self._draft.add_row(_path(content))
        self._shape += 1
        self._check()

    def _remove(self, content: Mapping[str, Any]) -> None:
        assert self._draft is not None, "there are fields"
        self._draft.remove_row(_path(content), int(content.get("index", -1)))
        self._shape += 1
        self._check()

    def _compare(self, _: Mapping[str, Any]) -> None:
        if self._draft is not None:
            self._look()
            self._offer += 1
            self._difference = self._draft.difference or ["The file would not change."]

    def _reload(self, _: Mapping[str, Any]) -> None:
        draft = self._draft
        if draft is not None and draft.before is not None:
            self._begin(lambda: Draft.open(draft.path))

    def _save(self, content: Mapping[str, Any]) -> None:
        """Write what was shown, and nothing else."""
        draft = self._draft
        if draft is None or content.get("offer") != self._offer or not self._can_save:
            return
        self._look()  # others may have changed their tenants in the meantime
        if self._can_save:
            draft.save()
            self._check()

    def _open(self, _: Mapping[str, Any]) -> None:
        """Make the working copies for this tenant and mode, and open the first one."""
        draft = self._draft
        if draft is None or not self._can_open:
            return
        site = load_site(self._site, self._root)
        name = str(draft.values.get("name"))
        folder = self._root / working_copies.FOLDER / site.name / name
        parameters = {"site": near(self._site, self._root), "tenant": near(draft.path, self._root)}
        if self._mode != "plan":
            parameters["mode"] = self._mode
        changed = working_copies.make(folder, parameters)
        kept = {copy.path: copy for copy in changed if copy.parameters != parameters}
        if kept:
            names = ", ".join(near(path, self._root) for path in kept)
            self._said = f"Edited by somebody, so left with the parameters that they have: {names}"
        first = folder / f"{working_copies.FIRST}.ipynb"
        path = first if first.exists() else min(folder.glob("0*.ipynb"))
        served = Served.by_this_kernel().path_of(path)
        if path in kept:
            self._said = working_copies.of_another(kept[path], self._root)
        elif served is None:
            self._said = f"It is outside the folder that this JupyterLab shows: {path}"
        elif self._panel is not None:
            self._panel.send({"open": served, "run": path not in [copy.path for copy in changed]})

    def _begin(self, make: Callable[[], Draft]) -> None:
        try:
            self._draft = make()
        except InputError as error:
            self._draft, self._said = None, _told(error)
        self._refused.clear()
        self._shape += 1
        self._check()

    def _check(self) -> None:
        """Look at the text as it is now; whatever was shown as the difference was of another."""
        self._difference = []
        self._look()

    def _look(self) -> None:
        draft = self._draft
        if draft is None:
            self._findings = []
            return
        others = [path for path in self._tenants if path != draft.path]
        self._findings = check_text(self._site, draft.path, draft.text, others, self._root)

    @property
    def _file(self) -> str:
        """The file that is shown; empty for none."""
        return "" if self._draft is None else near(self._draft.path, self._root)

    @property
    def _has_fixed_name(self) -> bool:
        """Whether something may bear the tenant's name already: only a wrong one is corrected here."""
        return self._draft is not None and not _wrong_name(str(self._draft.values.get("name") or ""))

    @property
    def _tenants(self) -> list[Path]:
        try:
            return tenant_files(self._site, self._root)
        except InputError:
            return []

    @property
    def _blocking(self) -> list[ParameterProblem]:
        """What keeps the file from being written: everything but a secret that is not there yet."""
        refused = [ParameterProblem(text, path) for path, text in self._refused.items()]
        return [*refused, *(finding for finding in self._findings if not finding.is_about_secret)]

    @property
    def _can_save(self) -> bool:
        return (
            self._draft is not None
            and self._draft.is_changed
            and bool(self._difference)
            and not self._blocking
        )

    @property
    def _can_open(self) -> bool:
        return self._draft is not None and not self._draft.is_changed and not self._blocking

    def _view(self) -> dict[str, Any]:
        draft, blocking = self._draft, self._blocking
        secrets = [finding for finding in self._findings if finding.is_about_secret]
        tenants = self._tenants
        if draft is not None and draft.path not in tenants:
            tenants = [*tenants, draft.path]
        site = self._read_site()
        return {
            "banner": BANNERS.get(self._target, UNKNOWN_TARGET),
            "target": self._target,
            "answered": self._answered,
            "fixed": {"name": FIXED_NAME} if self._has_fixed_name else {},
            "sites": [_option(near(path, self._root)) for path in self._sites],
            "site": near(self._site, self._root),
            "tenants": [_option(near(path, self._root)) for path in tenants],
            "tenant": self._file,
            "modes": [{"value": mode, "text": text} for mode, text in MODES.items()],
            "mode": self._mode,
            "examples": [_option(name) for name in _examples()],
            "title": "" if draft is None else visible(near(draft.path, self._root)),
            "fields": [] if draft is None else self._fields(site),
            "values": {} if draft is None else draft.values,
            "shape": self._shape,
            "problems": [
                {"text": visible(finding.text), "path": list(finding.path)}
                for finding in [*blocking, *secrets]
            ],
            "difference": [visible(line) for line in self._difference],
            "offer": self._offer,
            "can_save": self._can_save,
            "can_open": self._can_open,
            "said": visible(self._said),
            "status": self._status(blocking, secrets),
        }

    def _fields(self, site: Site | None) -> list[dict[str, Any]]:
        """The fields; what the site has names for is chosen from those."""
        names: dict[str, list[str]] = {}
        if site is not None:
            names = {
                "twilio_account": list(site.twilio_accounts),
                "shared_trunk": list(site.shared_trunks),
            }
        return [
            field.to_view() | {"kind": "choice", "choices": names[field.name]}
            if names.get(field.name)
            else field.to_view()
            for field in tenant_fields()
        ]

    @property
    def _target(self) -> str:
        """What the site's file says that it is, even where something else in it is wrong; else empty."""
        with suppress(OSError, ValueError, YAMLError, TypeError, KeyError):
            target = Layout(read(self._site).decode()).values["site"]["target"]
            return target if target in BANNERS else ""
        return ""

    def _read_site(self) -> Site | None:
        with suppress(InputError):
            return load_site(self._site, self._root)
        return None

    def _status(self, blocking: list[ParameterProblem], secrets: list[ParameterProblem]) -> str:
        if self._draft is None:
            return ""
        if blocking:
            return f"{_count(len(blocking))} to correct before the file can be written."
        after = "" if not secrets else f" Before a run: {_count(len(secrets))} with secrets to resolve."
        if self._draft.is_changed:
            return f"No problems. Show the difference, then write the file.{after}"
        return f"The file is as shown here, and has no problems.{after}"

    def _as_text(self) -> Box:
        name = "no tenant" if self._draft is None else near(self._draft.path, self._root)
        found = tuple(finding.text for finding in self._findings) or tuple(filter(None, [self._said]))
        banner = BANNERS.get(self._target, UNKNOWN_TARGET)
        return Box("stop" if found else "good", f"{name}: {_count(len(found))}", (banner, *found))

    def _located(self, given: str | Path, what: str) -> Path:
        found = locate(given, current_folder(), self._root)
        if found is None:
            raise InputError(
                [f"{what}: there is no file {given}"], next_step=f"give the path of a {what} file"
            )
        return found


def _examples() -> list[str]:
    names = sorted(path.stem for path in EXAMPLES.glob("*.yaml") if path.stem != "site")
    return sorted(names, key=lambda name: name != FIRST_EXAMPLE)


def _wrong_name(name: str) -> str:
    """What is wrong with a tenant's name, as the schema says it; empty for nothing."""
    from pydantic import TypeAdapter, ValidationError

    from ..parameters.types import FolderName

    try:
        TypeAdapter(FolderName).validate_python(name)
    except ValidationError as error:
        [detail] = error.errors(include_url=False, include_input=False)
        return str(detail["ctx"]["error"])
    return ""


def _path(content: Mapping[str, Any]) -> tuple[str | int, ...]:
    path = content.get("path")
    if not isinstance(path, list) or not path or not all(isinstance(part, str | int) for part in path):
        raise InputError(["the form sent no parameter's place"])
    return tuple(path)


def _option(value: str) -> dict[str, str]:
    return {"value": value, "text": visible(value)}


def _told(error: RunbookError | OSError) -> str:
    if isinstance(error, OSError):
        return describe(error)
    parts = [*error.problems] if isinstance(error, InputError) else [error.what]
    return ". ".join(filter(None, [*parts, f"What to do next: {error.next_step}" if error.next_step else ""]))


def _count(number: int) -> str:
    return f"{number or 'no'} {'problem' if number == 1 else 'problems'}"
