"""The trunk in the PBX: finding it, its desired fields with the portal's presets, updating it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import VerificationError, no_longer_exists
from ..facts.side_by_side import side_by_side
from ..keys import ResourceKey, pbx_trunk
from ..meaning import host, meaning, same_name
from ..signalling import Associated
from ..sip_uri import TerminationUri
from ..vendors.pbx import quoted
from ..vendors.portsip import Session

if TYPE_CHECKING:
    from ..parameters.settings import Settings

AUTH_MODE = "REGISTER_AUTH"

#: Fields that the API returns and does not accept.
_NOT_WRITABLE = frozenset({"id", "shared", "brand", "auth_mode"})


def desired_fields(
    settings: Settings, live: Mapping[str, Any] | None = None
) -> dict[str, tuple[str, str, Any]]:
    """Return every field of the trunk but pool and password: name -> (step, label, value).

    ``live`` is the trunk as it is in the PBX: an edge that somebody has set there is kept.
    Sent explicitly because the API's defaults are not the portal's (verify_port, rewrite_via_ip,
    keep_alive); a trunk made with the API's defaults answers calls from other ports with 407.
    """
    tls = settings.pbx_transport == "TLS"
    return {
        "name": ("5.2", "name", settings.pbx_name),
        "enabled": ("5.1", "enabled", True),
        "brand": ("5.2", "brand", settings.pbx_brand),
        "auth_mode": ("5.1", "kind of trunk", AUTH_MODE),
        "transport": ("5.1", "transport", settings.pbx_transport),
        "hostname": ("5.2", "hostname", desired_hostname(settings, live)),
        "port": ("5.1", "port", 5061 if tls else 5060),
        "outbound_server": ("5.4", "outbound proxy", ""),
        "outbound_server_port": ("5.4", "outbound proxy port", 0),
        "auth_id": ("5.3", "authentication name", settings.username),
        "username": ("5.3", "user name (three-part authentication only)", ""),
        "registration": ("5.4", "need registration", False),
        "register_interval": ("5.4", "registration interval, s", 600),
        "concurrency": ("5.4", "max concurrent calls", settings.max_concurrent_calls),
        "keep_alive": ("5.4", "send OPTIONS", False),
        "keep_alive_interval": ("5.4", "OPTIONS interval, s", 360),
        "inlan": ("5.4", "use private IP", False),
        "verify_port": ("5.4", "verify port", False),
        "rewrite_via_ip": ("5.4", "rewrite Via host", False),
        "single_via_header": ("5.4", "single Via", True),
        "adjust_sdp_direction": ("5.4", "adjust SDP on hold", True),
        # SRTP needs the crypto lines, which the PBX would otherwise remove.
        "remove_srtp_info": ("5.4", "remove SRTP information", not tls),
        "stir_shaken_signature_required": ("5.4", "require STIR/SHAKEN", False),
        # The portal's preset for the brand fills these in; the API is assumed not to.
        "additional_ips": ("5.4", "associated IP addresses", associated(settings, None).desired),
    }


def desired_hostname(settings: Settings, live: Mapping[str, Any] | None) -> str:
    """Return the hostname for outbound calls: the parameters' URI, or the same trunk at its existing edge.

    Only parameters that name an edge change it: somebody may have chosen the existing edge for a reason.
    """
    there = (live or {}).get("hostname") or ""
    kept = not settings.termination.edge and leads_to(settings, there)
    return there if kept else str(settings.termination)


def leads_to(settings: Settings, hostname: str | None) -> bool:
    """Whether a hostname is the trunk's termination URI, with any edge or none."""
    uri = TerminationUri.read(host(hostname or ""))
    return uri is not None and uri.label == settings.termination.label


def edge_caution(settings: Settings, live: Mapping[str, Any]) -> list[str]:
    """Return a caution if outbound calls enter Twilio at an edge that the parameters do not name."""
    uri = TerminationUri.read(host(live.get("hostname") or ""))
    if settings.termination.edge or uri is None or not uri.edge or not leads_to(settings, str(uri)):
        return []
    return [
        f"Outbound calls use Twilio's edge {uri.edge} ({live['hostname']}), which the parameters do not"
        f" name. It is kept. To state it in the parameters: trunk.termination: {uri}"
    ]


def associated(settings: Settings, live: Mapping[str, Any] | None) -> Associated:
    """Return the associated addresses of the trunk as the PBX has it; ``None`` for one to be made."""
    return Associated(
        (live or {}).get("additional_ips") or "",
        settings.additional_signalling_ranges,
        settings.remove_signalling_ranges,
    )


@dataclass(frozen=True)
class InPbx:
    """The PBX's trunks that may be ours, in full, as they were read.

    ``namesake`` is a trunk with our name that neither has our hostname nor was created by the runbook;
    ``status`` how the only candidate is doing, if that was asked for.
    """

    candidates: tuple[dict[str, Any], ...] = ()
    namesake: dict[str, Any] | None = None
    status: str | None = None

    @property
    def trunk(self) -> dict[str, Any] | None:
        """The only candidate; ``None`` where there is none or more than one."""
        return self.candidates[0] if len(self.candidates) == 1 else None

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all candidates."""
        return frozenset(trunk["id"] for trunk in self.candidates)


class PbxTrunkResource:
    """The register-based trunk of a tenant, found by its hostname, or by its name if that was changed.

    The hostname with another edge leads to the same trunk at Twilio, so it is the same one here.

    Parameters
    ----------
    session
        Called for a session in the scope that owns the trunk, when it is first needed.
    made_by_us
        Called with a resource's key and id: whether the journals show that we made it.
    reads_whole
        Whether the trunks of the scope are asked for without a filter, so that one answer serves every
        question.
    """

    def __init__(
        self,
        session: Callable[[], Session],
        settings: Settings,
        made_by_us: Callable[[ResourceKey, str], bool],
        *,
        reads_whole: bool = False,
    ) -> None:
        self._reads_whole = reads_whole
        self._session = session
        self._settings = settings
        self._made_by_us = made_by_us

    @property
    def session(self) -> Session:
        """The session in the scope that owns the trunk."""
        return self._session()

    def look(self, *, with_status: bool = False) -> InPbx:
        """Read, in full, the trunks that lead to ours at Twilio, or else those that the runbook created.

        The list's filter only narrows the result and is not trusted (its fields are not
        documented): the answer is checked here.
        """
        hostname, name = str(self._settings.termination), self._settings.pbx_name
        session = self.session
        narrowed = f"hostname eq {quoted(hostname)} or name eq {quoted(name)}"
        # A tenant sees few trunks; in the whole PBX there may be pages of them.
        (found, at_ours), of_brand = side_by_side(
            lambda: self._found_by(narrowed, with_status),
            lambda: self.of_brand(session) if self._settings.shared is None else None,
        )
        if at_ours.candidates:
            return at_ours
        # The PBX's filter compares characters: to find the same name in another case, with another
        # form of its accents or with another edge, all trunks are read.
        known = {trunk["id"] for trunk in found}
        of_brand = self.of_brand(session) if of_brand is None else of_brand
        found += [trunk for trunk in of_brand if trunk["id"] not in known]
        matching, namesake = self._at_our_hostname(found), None
        if not matching:
            named = [trunk for trunk in found if same_name(trunk.get("name"), name)]
            matching = [trunk for trunk in named if self._made_by_us(pbx_trunk(name), trunk["id"])]
            namesake = next((trunk for trunk in named if trunk not in matching), None)
        return replace(self._in_full(matching, with_status), namesake=namesake)

    def _found_by(self, narrowed: str, with_status: bool) -> tuple[list[dict[str, Any]], InPbx]:
        """Read the trunks that a filter finds, and in full those of them at our termination URI."""
        found = self._listed(self.session, narrowed)
        return found, self._in_full(self._at_our_hostname(found), with_status)

    def _in_full(self, trunks: Sequence[dict[str, Any]], with_status: bool) -> InPbx:
        paths = [f"/providers/{trunk['id']}" for trunk in trunks]
        if with_status and len(paths) == 1:
            trunk, status = side_by_side(
                partial(self.session.get, paths[0]), partial(self.session.get, f"{paths[0]}/status")
            )
            return InPbx((trunk,), status=status.get("status"))
        return InPbx(side_by_side(*(partial(self.session.get, path) for path in paths)))

    def of_brand(self, session: Session) -> tuple[dict[str, Any], ...]:
        """Read the trunks of our brand that a session sees, as the PBX lists them."""
        brand = self._settings.pbx_brand
        found = self._listed(session, f"brand eq {quoted(brand)}")
        return tuple(trunk for trunk in found if same_name(trunk.get("brand"), brand))

    def _listed(self, session: Session, narrowed: str) -> list[dict[str, Any]]:
        return list(session.list("/providers", **({} if self._reads_whole else {"filter": narrowed})))

    def _at_our_hostname(self, trunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those at our termination URI; with another edge only if that one is not beside it.

        A second trunk with another edge, for failover, may be somebody's own: it is left alone. If it
        has our name, it is unclear which of the two is ours.
        """
        wanted = meaning("hostname", str(self._settings.termination))
        leading = [trunk for trunk in trunks if leads_to(self._settings, trunk.get("hostname"))]
        exact = [trunk for trunk in leading if meaning("hostname", trunk["hostname"]) == wanted]
        others = [trunk for trunk in leading if trunk not in exact]
        if exact and not any(same_name(one.get("name"), self._settings.pbx_name) for one in others):
            return exact
        return leading

    def find(self) -> dict[str, Any] | None:
        """Read the only candidate; ``None`` where there is none or more than one."""
        return self.look().trunk

    def must_find(self) -> dict[str, Any]:
        """Read the trunk for a write that needs it; raises ``VerificationError`` if it is gone."""
        trunk = self.find()
        if trunk is None:
            raise no_longer_exists(f"the PBX trunk {self._settings.pbx_name}", "5.1")
        return trunk

    def create(self, fields: dict[str, Any]) -> None:
        """Make the trunk."""
        self.session.post("/providers", fields)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change fields, sending back everything else as it was read.

        Whether an update replaces or merges is not documented, so every writable field that was
        read goes back, also unknown ones. Raises ``VerificationError`` when anything else moved.
        """
        before = self.must_find()
        kept = {
            name: value for name, value in before.items() if name not in _NOT_WRITABLE and value is not None
        }
        self.session.post(f"/providers/{before['id']}", {**kept, **changes})
        after = self.session.get(f"/providers/{before['id']}")
        moved = [
            name
            for name, value in before.items()
            if name not in changes and meaning(name, after.get(name)) != meaning(name, value)
        ]
        if moved:
            raise VerificationError(
                f"the PBX also changed {', '.join(moved)} of trunk {self._settings.pbx_name}",
                step="5.4",
                meaning="a field that was sent back unchanged has another value now",
                next_step="compare the previous values in the journal with the PBX and set the field by hand",
            )
