"""PortSIP's API: sign-in, scopes, trunks, assignees and rules."""

from __future__ import annotations

import re

import pytest

from runbook_sandbox import demo
from tests.sections.expected import ACME_PBX_TRUNK

ADMIN = {"username": "admin"}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
OPEN = {"enabled": True, "ranges": [{"from": "10:00", "to": "12:00"}]}


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def test_info_needs_no_token(sandbox):
    info = sandbox.pbx.get("/info").json()
    assert (info["public_ipv4"], info["web_domain"]) == ("203.0.113.10", "pbx.portsip.example")
    assert sandbox.pbx.get("/info", params={"domain": "acme.pbx.example"}).json()["name"] == "Acme Dental"
    for path in ("/network", "/tenant", "/providers", "/transports", "/auth/user"):
        assert code(sandbox.pbx.get(path)) == (401, "UNAUTHORIZED")


def test_administrator(admin):
    assert admin.get("/auth/user").json()["role"] == "SystemAdmin"
    assert admin.get("/admin/status").json()["version"] == "22.2.11"
    assert [t["protocol"] for t in admin.get("/transports").json()["items"]] == ["UDP", "TCP", "TLS"]
    assert [t["port"] for t in admin.get("/transports").json()["items"]] == [5060, 5063, 5061]
    assert admin.get("/transports/UDP/status").json() == {"status": "ACTIVATED"}
    assert admin.get("/tenants").json()["count"] == 5
    assert code(admin.get("/tenant")) == (404, "NOT_FOUND")
    assert [t["name"] for t in admin.get("/providers").json()["items"]] == ["Telnyx US shared"]
    assert code(admin.get("/inbound_rules")) == (404, "NOT_FOUND")


def test_tokens(sandbox):
    body = ADMIN | {"password": sandbox.secrets["portsip_admin_password"]}
    tokens = sandbox.pbx.post("/auth/sign_in", json=body).json()
    assert set(tokens) == {"token_type", "access_token", "refresh_token", "expires_in"}
    assert re.fullmatch(r"[A-Za-z0-9+/=]{40,}", tokens["access_token"]) and tokens["expires_in"] == 3600
    new = sandbox.pbx.post("/auth/refresh_token", json={"refresh_token": tokens["refresh_token"]}).json()
    old = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert sandbox.pbx.get("/auth/user", headers=old).status_code == 401
    again = sandbox.pbx.post("/auth/refresh_token", json={"refresh_token": tokens["refresh_token"]})
    assert code(again) == (400, "UNKNOWN")
    bearer = {"Authorization": f"Bearer {new['access_token']}"}
    assert sandbox.pbx.get("/auth/user", headers=bearer).status_code == 200
    sandbox.control.post("/clock", json={"advance": 3600})
    assert code(sandbox.pbx.get("/auth/user", headers=bearer)) == (401, "UNAUTHORIZED")
    newest = sandbox.pbx.post("/auth/refresh_token", json={"refresh_token": new["refresh_token"]}).json()
    bearer = {"Authorization": f"Bearer {newest['access_token']}"}
    out = sandbox.pbx.post("/auth/sign_out", headers=bearer)
    assert (out.status_code, out.content) == (200, b"")
    assert sandbox.pbx.get("/auth/user", headers=bearer).status_code == 401


@pytest.mark.parametrize("unknown", ["0", "%0A", "a%0Ab", "%3F"])
def test_an_id_that_is_not_there_whatever_it_looks_like(acme, unknown):
    for table, status in (("inbound_rules", 400), ("providers", 400), ("outbound_rules", 404)):
        assert code(acme.post(f"/{table}/{unknown}/destroy")) == (status, "NOT_FOUND")
        assert code(acme.get(f"/{table}/{unknown}")) == (404, "NOT_FOUND")


def test_two_factor(sandbox):
    password = sandbox.secrets["portsip_tenant_password"]
    body = ADMIN | {"password": password, "domain": "hooli.pbx.example"}
    answer = sandbox.pbx.post("/auth/sign_in", json=body).json()
    assert set(answer) == {"two_factor_enabled", "token"} and answer["two_factor_enabled"] is True
    assert sandbox.pbx.post("/auth/send_otp", json={"token": answer["token"]}).status_code == 200
    [one_time] = sandbox.state()["portsip"]["one_time_codes"]
    wrong = sandbox.pbx.post("/auth/verify_otp", json={"token": answer["token"], "code": "no"})
    assert wrong.status_code == 400
    right = sandbox.pbx.post("/auth/verify_otp", json={"token": answer["token"], "code": one_time})
    assert right.json()["access_token"]


def test_lockout_after_five_wrong_passwords(sandbox):
    wrong = ADMIN | {"password": "wrong"}
    for _ in range(5):
        assert code(sandbox.pbx.post("/auth/sign_in", json=wrong)) == (400, "UNAUTHORIZED")
    right = ADMIN | {"password": sandbox.secrets["portsip_admin_password"]}
    assert code(sandbox.pbx.post("/auth/sign_in", json=right)) == (403, "DENIED")
    sandbox.control.post("/clock", json={"advance": 3601})
    assert sandbox.pbx.post("/auth/sign_in", json=right).status_code == 200


def test_unknown_domain_and_status_of_bad_credentials(sandbox):
    body = ADMIN | {"password": "x", "domain": "nobody.pbx.example"}
    answer = sandbox.pbx.post("/auth/sign_in", json=body)
    assert answer.status_code == 404 and "no tenant information found" in answer.text
    for status in ("401", "403"):
        sandbox.switch(portsip__bad_credentials_status=status)
        assert sandbox.pbx.post("/auth/sign_in", json=ADMIN | {"password": "x"}).status_code == int(status)


def test_switching_changes_the_scope_of_the_same_token(sandbox, admin):
    answer = admin.post("/tenants/switch", params={"id": demo.TENANTS["acme"]})
    assert (answer.status_code, answer.content) == (200, b"")
    assert admin.get("/tenant").json()["domain"] == "acme.pbx.example"
    assert admin.get("/auth/user").json()["role"] == "Admin"
    assert code(admin.get("/tenants")) == (403, "FORBIDDEN")
    assert admin.get("/tenant/status").json()["version"] == "22.2.11"
    assert code(admin.post("/tenants/switch", params={"id": "1"})) == (404, "NOT_FOUND")
    assert admin.post("/tenants/switch").status_code == 200
    assert admin.get("/tenants").status_code == 200
    sandbox.switch(portsip__switch_without_id="refused")
    assert admin.post("/tenants/switch").status_code == 400


def test_a_tenant_sees_its_own_and_shared_trunks(acme):
    items = {item["name"]: item for item in acme.get("/providers").json()["items"]}
    assert set(items) == {"Telnyx US shared", "Acme landline"}
    assert items["Telnyx US shared"]["shared"] is True
    assert items["Telnyx US shared"]["did_numbers"] == "13125550100-13125550109"
    assert items["Acme landline"]["shared"] is False
    assert set(items["Acme landline"]) == {
        "id",
        "name",
        "enabled",
        "brand",
        "hostname",
        "port",
        "did_numbers",
        "shared",
    }
    shared = f"/providers/{demo.TELNYX_TRUNK_ID}"
    assert acme.get(shared).json()["concurrency"] == 20
    assert code(acme.post(shared, json={"name": "Mine"})) == (403, "FORBIDDEN")
    assert code(acme.post(f"{shared}/destroy")) == (400, "FORBIDDEN")
    assert code(acme.get(f"{shared}/assignees")) == (403, "FORBIDDEN")
    assert code(acme.get(f"/providers/{demo.SINCH_TRUNK_ID}")) == (404, "NOT_FOUND")


def test_create_read_update_destroy(sandbox, acme, trunk_body):
    created = acme.post("/providers", json=trunk_body())
    assert created.status_code == 201 and re.fullmatch(r"\d{18}", created.json()["id"])
    one = f"/providers/{created.json()['id']}"
    trunk = acme.get(one).json()
    assert "password" not in trunk and "assword" not in acme.get(one).text
    # the API's defaults, which are not the portal's presets
    assert (trunk["verify_port"], trunk["rewrite_via_ip"], trunk["keep_alive"], trunk["registration"]) == (
        True,
    ) * 4
    assert (trunk["register_interval"], trunk["keep_alive_interval"], trunk["additional_ips"]) == (
        600,
        360,
        "",
    )
    changed = acme.post(
        one, json={"registration": False, "keep_alive": False, "brand": "X", "auth_mode": "IP_AUTH"}
    )
    assert (changed.status_code, changed.content) == (200, b"")
    trunk = acme.get(one).json()
    assert (trunk["brand"], trunk["auth_mode"], trunk["registration"]) == ("Twilio", "REGISTER_AUTH", False)
    assert acme.get(f"{one}/status").json() == {"status": "ONLINE"}
    assert acme.post(f"{one}/destroy").status_code == 204
    assert code(acme.post(f"{one}/destroy")) == (400, "NOT_FOUND")


def test_status(sandbox, acme, trunk_body):
    one = f"/providers/{acme.post('/providers', json=trunk_body()).json()['id']}"
    assert acme.get(f"{one}/status").json() == {"status": "OFFLINE"}, "Twilio takes no REGISTER"
    acme.post(one, json={"registration": False})
    assert acme.get(f"{one}/status").json() == {"status": "OFFLINE"}, "no trunk answers OPTIONS"
    sandbox.twilio.post("/v1/Trunks", data={"DomainName": "acme-runbook.pstn.twilio.com"})
    assert acme.get(f"{one}/status").json() == {"status": "ONLINE"}, "Twilio answers OPTIONS"
    acme.post(one, json={"enabled": False})
    assert acme.get(f"{one}/status").json() == {"status": "OFFLINE"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"transport": "WSS"},
        {"port": 65536},
        {"port": "5060"},
        {"concurrency": -1},
        {"registration": "false"},
        {"outbound_server": None},
        {"auth_mode": "PASSWORD"},
        {"did_numbers": "+12025550100"},
        {"did_numbers": "012025550100"},
        {"did_numbers": "12025550105-12025550100"},
        {"did_numbers": "12025550100-2025550110"},
        {"did_numbers": "12025550100;;12025550101"},
    ],
)
def test_refused_trunks(acme, trunk_body, wrong):
    assert code(acme.post("/providers", json=trunk_body(**wrong))) == (400, "VALIDATE_FAILED")


def test_hostname_and_authentication_name_are_unique_in_the_pbx(sandbox, acme, trunk_body):
    assert acme.post("/providers", json=trunk_body()).status_code == 201
    with sandbox.sign_in("globex") as globex:
        other = trunk_body(did_numbers="12025550105")
        assert code(globex.post("/providers", json=other)) == (400, "VALIDATE_FAILED")
        assert globex.post("/providers", json=other | {"auth_id": "globex"}).status_code == 201


def test_pools_of_different_tenants_do_not_overlap(sandbox, acme, trunk_body):
    assert acme.post("/providers", json=trunk_body()).status_code == 201
    with sandbox.sign_in("globex") as globex:
        same = trunk_body(auth_id="g", did_numbers="12025550103-12025550104")
        assert code(globex.post("/providers", json=same)) == (400, "VALIDATE_FAILED")
        other_brand = same | {"brand": "Generic"}
        sandbox.switch(portsip__pool_overlap="global")
        assert code(globex.post("/providers", json=other_brand)) == (400, "VALIDATE_FAILED")
        sandbox.switch(portsip__pool_overlap="brand")
        assert globex.post("/providers", json=other_brand).status_code == 201


def test_gates_of_tenant_level_trunks(sandbox, acme, trunk_body):
    sandbox.patch(vendor="portsip", kind="settings", set={"enable_tenant_level_trunk": False})
    assert code(acme.post("/providers", json=trunk_body())) == (403, "FORBIDDEN")
    sandbox.patch(vendor="portsip", kind="settings", set={"enable_tenant_level_trunk": True})
    acme_id = demo.TENANTS["acme"]
    sandbox.patch(vendor="portsip", kind="tenants", id=acme_id, set={"enable_feature_trunks": False})
    assert code(acme.post("/providers", json=trunk_body())) == (403, "FORBIDDEN")


def test_replacing_update(sandbox, acme, trunk_body):
    one = f"/providers/{acme.post('/providers', json=trunk_body(keep_alive=False)).json()['id']}"
    before = sandbox.state()["portsip"]["providers"][one.rsplit("/")[-1]]["password_sha256"]
    sandbox.switch(portsip__provider_update="replace")
    assert acme.post(one, json={"auth_id": "acme-pbx", "did_numbers": "12025550100"}).status_code == 200
    trunk = acme.get(one).json()
    assert (trunk["keep_alive"], trunk["did_numbers"], trunk["name"]) == (
        True,
        "12025550100",
        "Twilio-Reg-Trunk",
    )
    assert sandbox.state()["portsip"]["providers"][trunk["id"]]["password_sha256"] == before


def test_an_update_may_lose_the_password(sandbox, acme, trunk_body):
    one = f"/providers/{acme.post('/providers', json=trunk_body(password='Abcdefgh1234X')).json()['id']}"

    def password():
        return sandbox.state()["portsip"]["providers"][one.rsplit("/")[-1]]["password_sha256"]

    kept = password()
    for update in ("merge", "replace"):
        sandbox.switch(portsip__provider_update=update)
        assert acme.post(one, json=acme.get(one).json()).status_code == 200
        assert password() == kept is not None
    sandbox.switch(portsip__provider_password="lost")
    assert acme.post(one, json=acme.get(one).json() | {"password": "Abcdefgh1234Y"}).status_code == 200
    assert password() not in (kept, None)
    assert acme.post(one, json=acme.get(one).json()).status_code == 200
    assert password() is None


def test_unknown_fields(sandbox, acme, trunk_body):
    body = trunk_body(remove_plus_prefix=False)
    one = f"/providers/{acme.post('/providers', json=body).json()['id']}"
    assert "remove_plus_prefix" not in acme.get(one).json()
    sandbox.switch(portsip__unknown_fields="kept")
    acme.post(one, json={"remove_plus_prefix": True})
    assert acme.get(one).json()["remove_plus_prefix"] is True
    sandbox.switch(portsip__unknown_fields="refused")
    assert acme.post(one, json={"remove_plus_prefix": True}).status_code == 400


def test_a_trunk_read_can_be_sent_back(sandbox, acme, trunk_body):
    one = f"/providers/{acme.post('/providers', json=trunk_body()).json()['id']}"
    for setting in ("empty", "null", "absent"):
        for unknown in ("ignored", "kept", "refused"):
            sandbox.switch(portsip__unset_text=setting, portsip__unknown_fields=unknown)
            trunk = acme.get(one).json()
            assert acme.post(one, json=trunk).status_code == 200, (setting, unknown)
            assert acme.get(one).json() == trunk


def test_assignees(sandbox, admin, trunk_body):
    made = admin.post("/providers", json=trunk_body())
    one = f"/providers/{made.json()['id']}"
    assert admin.get(one).json()["did_numbers"] == "", "at system level pools belong to the assignees"
    acme, globex = (f"{one}/assignees/{demo.TENANTS[name]}" for name in ("acme", "globex"))
    assert admin.get(acme).status_code == 404
    body = {"did_numbers": "12025550100", "concurrency": 5}
    assert admin.post(acme, json=body).status_code == 204
    assert admin.get(acme).json() == body
    assert code(admin.post(globex, json=body)) == (400, "VALIDATE_FAILED")
    assert admin.post(globex, json={"did_numbers": "12025550101"}).status_code == 204
    assert admin.post(acme, json={"concurrency": 7}).status_code == 204
    assert admin.get(acme).json() == {"did_numbers": "12025550100", "concurrency": 7}
    listed = admin.get(f"{one}/assignees").json()
    assert set(listed) == {"items"} and len(listed["items"]) == 2
    with sandbox.sign_in("acme") as client:
        assert client.get(one).json()["shared"] is True
    assert admin.post(f"{acme}/destroy").status_code == 204
    assert code(admin.post(f"{acme}/destroy")) == (404, "NOT_FOUND")


def test_inbound_rules(sandbox, acme, trunk_body):
    trunk = acme.post("/providers", json=trunk_body()).json()["id"]
    forward = {"action": "FORWARD_TO_NUMBER", "number": "1001"}
    body = {
        "name": "Main",
        "provider_id": trunk,
        "did_numbers": "12025550100",
        "office_hours_forward_rule": forward,
    }
    for wrong in (
        {"did_numbers": "12025550109"},
        {"did_numbers": "12025550100;12025550101"},
        {"did_numbers": "+12025550100"},
        {"provider_id": demo.SINCH_TRUNK_ID},
        {"holidays": ["1"]},
        {"office_hours_forward_rule": {"action": "RING"}},
        {"did_numbers": "12025550100-12025550102", "holiday_forward_rule": forward | {"number": "1001-1002"}},
    ):
        assert code(acme.post("/inbound_rules", json=body | wrong)) == (400, "VALIDATE_FAILED"), wrong
    for missing in ("name", "did_numbers", "provider_id"):
        without = {name: value for name, value in body.items() if name != missing}
        assert code(acme.post("/inbound_rules", json=without)) == (400, "VALIDATE_FAILED"), missing
    rule = acme.post("/inbound_rules", json=body)
    assert rule.status_code == 201
    assert code(acme.post("/inbound_rules", json=body | {"name": "Again"})) == (400, "VALIDATE_FAILED")
    assert acme.post("/inbound_rules", json=body | {"cid_number_mask": "1303*******"}).status_code == 201
    one = f"/inbound_rules/{rule.json()['id']}"
    detail = acme.get(one).json()
    assert (detail["enabled"], detail["office_hours"]["mode"], detail["holidays"]) == (True, "GLOBAL", [])
    assert acme.post(one, json={"did_numbers": "12025550100-12025550103"}).status_code == 200
    assert acme.get(one).json()["did_numbers"] == "12025550100-12025550103"
    assert acme.post(one, json=detail).status_code == 200
    in_use = acme.post(f"/providers/{trunk}/destroy")
    assert code(in_use) == (400, "VALIDATE_FAILED") and "Main" in in_use.text
    assert acme.post(f"{one}/destroy").status_code == 204
    assert code(acme.post(f"{one}/destroy")) == (400, "NOT_FOUND")


def test_rules_show_the_hours_of_every_day(acme):
    [inbound] = acme.get("/inbound_rules").json()["items"]
    made = acme.post(
        "/outbound_rules", json={"name": "Out", "office_hours": {"mode": "CUSTOM", "sunday": OPEN}}
    )
    outbound = f"/outbound_rules/{made.json()['id']}"
    for rule in (inbound, acme.get(outbound).json(), acme.get("/outbound_rules").json()["items"][-1]):
        assert set(rule["office_hours"]) == {"mode", *DAYS}, rule["name"]
        assert all(set(rule["office_hours"][day]) == {"enabled", "ranges"} for day in DAYS), rule["name"]
    hours = acme.get(outbound).json()["office_hours"]
    assert (hours["mode"], hours["sunday"]) == ("CUSTOM", OPEN)
    acme.post(outbound, json={"priority": 7})
    assert acme.get(outbound).json()["office_hours"] == hours


def test_holidays_are_objects_on_read(acme):
    [rule] = acme.get("/inbound_rules").json()["items"]
    assert rule["holidays"][0]["name"] == "New Year's Day"
    assert acme.post(f"/inbound_rules/{rule['id']}", json=rule).status_code == 200
    assert acme.get(f"/inbound_rules/{rule['id']}").json() == rule


def test_outbound_rules(sandbox, acme, trunk_body):
    trunk = acme.post("/providers", json=trunk_body()).json()["id"]
    route = {"provider_id": trunk, "outbound_caller_id": "+12025550100"}
    body = {"name": "All", "number_length": "10;11", "routes": [route]}
    for wrong in (
        [route | {"outbound_caller_id": "+12025550109"}],
        [route | {"strip_digits": 10}],
        [route] * 7,
        [route | {"provider_id": demo.SINCH_TRUNK_ID}],
        ["x"],
    ):
        assert code(acme.post("/outbound_rules", json=body | {"routes": wrong})) == (400, "VALIDATE_FAILED")
    assert code(acme.post("/outbound_rules", json={"priority": 1})) == (400, "VALIDATE_FAILED")
    assert acme.post("/outbound_rules", json={"name": "Bare"}).status_code == 201, "a name will do"
    made = acme.post("/outbound_rules", json=body)
    assert made.status_code == 201
    assert all("routes" not in item for item in acme.get("/outbound_rules").json()["items"])
    one = f"/outbound_rules/{made.json()['id']}"
    detail = acme.get(one).json()
    assert (detail["priority"], detail["routing_strategy"]) == (1000, "PRIORITIZED")
    assert detail["routes"] == [{"enabled": True, "strip_digits": 0} | route], "an unset prepend is absent"
    assert acme.post(one, json={"priority": 5}).status_code == 200
    assert acme.get(one).json()["routes"] == detail["routes"]
    sandbox.switch(portsip__rule_update="replace")
    assert acme.post(one, json={"name": "All"}).status_code == 200
    assert acme.get(one).json()["routes"] == []
    assert acme.post(f"{one}/destroy").status_code == 204


def test_rules_belong_to_a_tenant(sandbox, acme):
    [rule] = acme.get("/inbound_rules").json()["items"]
    with sandbox.sign_in("globex") as globex:
        assert globex.get("/inbound_rules").json() == {"count": 0, "items": []}
        assert globex.get(f"/inbound_rules/{rule['id']}").status_code == 404


def test_taking_numbers_away_that_a_rule_uses(sandbox, acme):
    trunk = f"/providers/{demo.ACME_GENERIC_TRUNK_ID}"
    sandbox.switch(portsip__did_removal_in_use="refused")
    assert code(acme.post(trunk, json={"did_numbers": "13125550141"})) == (400, "VALIDATE_FAILED")
    sandbox.switch(portsip__did_removal_in_use="accepted")
    assert acme.post(trunk, json={"did_numbers": "13125550141"}).status_code == 200


def test_collections(sandbox, admin):
    def names(**query):
        answer = admin.get("/tenants", params=query)
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]

    assert names(filter="domain eq 'acme.pbx.example'") == ["Acme Dental"]
    assert names(filter="startswith(name,'In') or contains(name,'oba')") == ["Initech"]
    assert names(filter="(enabled eq true and endswith(name,'Health')) and max_extensions ge 1000") == [
        "Umbrella Health"
    ]
    assert names(search="ACME") == ["Acme Dental"]
    assert names(orderby="name desc", top=2) == ["Umbrella Health", "Initech"]
    assert names(orderby="name asc", skip=4) == ["Umbrella Health"]
    assert admin.get("/tenants", params={"top": 1}).json()["count"] == 5
    for wrong in (
        {"top": 0},
        {"top": 101},
        {"skip": -1},
        {"filter": "name eq"},
        {"filter": "nonsense eq 'x'"},
        {"filter": 'name eq "x"'},
        {"orderby": "nonsense"},
    ):
        assert code(admin.get("/tenants", params=wrong)) == (400, "VALIDATE_FAILED"), wrong
    sandbox.switch(portsip__filter="ignored")
    assert len(names(filter="domain eq 'acme.pbx.example'")) == 5


def test_system_list_can_hold_tenants_trunks(sandbox, admin):
    assert admin.get(f"/providers/{demo.SINCH_TRUNK_ID}").status_code == 404
    sandbox.switch(portsip__system_list="all")
    assert admin.get("/providers").json()["count"] == 3
    assert admin.get(f"/providers/{demo.SINCH_TRUNK_ID}").status_code == 200


def test_tenant_transports_can_be_hidden(sandbox, acme):
    assert acme.get("/transports").status_code == 200
    sandbox.switch(portsip__tenant_transports="hidden")
    assert code(acme.get("/transports")) == (403, "FORBIDDEN")


def test_new_tenant(sandbox, admin):
    body = {
        "name": "New",
        "domain": "new.pbx.example",
        "timezone": "Europe/Berlin",
        "currency": "EUR",
        "region": "DEU",
    }
    made = admin.post("/tenants", json=body)
    assert made.status_code == 201
    assert admin.get(f"/tenants/{made.json()['id']}").json()["max_concurrent_calls"] == 20
    assert code(admin.post("/tenants", json=body)) == (400, "VALIDATE_FAILED")


def test_exports(acme):
    for path in ("/providers/export", "/inbound_rules/export"):
        answer = acme.get(path)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "attachment" in answer.headers["content-disposition"]


def test_settings_are_for_system_administrators_whose_role_has_them(sandbox, admin, acme):
    settings = admin.get("/admin/settings").json()
    assert (settings["web_failed_auth_amount"], settings["web_blacklist_time_interval"]) == (5, 3600)
    assert settings["enable_tenant_level_trunk"] is True
    assert code(acme.get("/admin/settings")) == (403, "FORBIDDEN")
    assert code(sandbox.pbx.get("/admin/settings")) == (401, "UNAUTHORIZED")
    admin.post("/tenants/switch", params={"id": demo.TENANTS["acme"]})
    assert code(admin.get("/admin/settings")) == (403, "FORBIDDEN")
    sandbox.switch(portsip__admin_settings="forbidden")
    admin.post("/tenants/switch")
    assert code(admin.get("/admin/settings")) == (403, "FORBIDDEN")


def test_a_trunk_by_the_apis_own_defaults(acme):
    required = {
        "name": "Bare",
        "transport": "UDP",
        "hostname": "bare.carrier.example",
        "port": 0,
        "outbound_server": "",
        "outbound_server_port": 0,
        "concurrency": 0,
    }
    for missing in required:
        body = {name: value for name, value in required.items() if name != missing}
        assert code(acme.post("/providers", json=body)) == (400, "VALIDATE_FAILED"), missing
    trunk = acme.get(f"/providers/{acme.post('/providers', json=required).json()['id']}").json()
    assert {name: trunk[name] for name in required} == required
    defaults = {
        "inlan": False,
        "verify_port": True,
        "rewrite_via_ip": True,
        "single_via_header": True,
        "adjust_sdp_direction": True,
        "registration": True,
        "keep_alive": True,
        "keep_alive_interval": 360,
        "register_interval": 600,
        "remove_srtp_info": True,
        "stir_shaken_signature_required": False,
        "additional_ips": "",
        "did_numbers": "",
    }
    assert {name: trunk[name] for name in defaults} == defaults
    assert "auth_mode" not in trunk and "brand" not in trunk, "neither has a default"
    assert trunk["inbound_parameters"] == ACME_PBX_TRUNK["inbound_parameters"]
    assert trunk["outbound_parameters"] == ACME_PBX_TRUNK["outbound_parameters"]
    changed = {"inbound_parameters": {"called_num": "TO_USER_PART"}}
    acme.post(f"/providers/{trunk['id']}", json=changed)
    after = acme.get(f"/providers/{trunk['id']}").json()
    assert after == trunk | {
        "inbound_parameters": trunk["inbound_parameters"] | {"called_num": "TO_USER_PART"}
    }


def test_the_brand_is_free_text(acme, trunk_body):
    made = acme.post("/providers", json=trunk_body(brand="Telnyx – US"))
    assert acme.get(f"/providers/{made.json()['id']}").json()["brand"] == "Telnyx – US"


def test_a_transport_that_the_pbx_lacks_is_refused(sandbox, acme, trunk_body):
    sandbox.patch(vendor="portsip", kind="transports", match={"protocol": "TLS"}, remove=True)
    assert code(acme.post("/providers", json=trunk_body(transport="TLS"))) == (400, "VALIDATE_FAILED")


def test_status_of_a_transport_is_asked_for_by_protocol(sandbox, admin):
    [udp] = [one for one in admin.get("/transports").json()["items"] if one["protocol"] == "UDP"]
    assert admin.get("/transports/UDP/status").json() == {"status": "ACTIVATED"}
    assert code(admin.get(f"/transports/{udp['id']}/status")) == (400, "VALIDATE_FAILED")
    sandbox.patch(vendor="portsip", kind="transports", match={"protocol": "UDP"}, set={"active": False})
    assert admin.get("/transports/UDP/status").json() == {"status": "DEACTIVATED"}


def test_summaries_of_tenants_are_narrower_than_details(admin):
    summary = admin.get("/tenants", params={"filter": "domain eq 'acme.pbx.example'"}).json()["items"][0]
    detail = admin.get(f"/tenants/{summary['id']}").json()
    more = {
        "enable_feature_trunks",
        "enable_two_factor_authentication",
        "office_hours",
        "outbound_caller_ids",
        "e164",
    }
    assert more <= set(detail) and not more & set(summary)


def test_caller_ids_of_a_tenant_lie_in_its_pools(acme):
    one = {"provider_id": demo.ACME_GENERIC_TRUNK_ID, "caller_id": "+13125550140", "description": ""}
    assert acme.post("/tenant", json={"outbound_caller_ids": [one]}).status_code == 200
    assert acme.get("/tenant").json()["outbound_caller_ids"] == [one]
    outside = one | {"caller_id": "+12025550199"}
    assert code(acme.post("/tenant", json={"outbound_caller_ids": [outside]})) == (400, "VALIDATE_FAILED")


def test_network_is_for_system_administrators(admin, acme):
    assert admin.get("/network").json()["public_ipv4"] == "203.0.113.10"
    assert code(acme.get("/network")) == (403, "FORBIDDEN")
