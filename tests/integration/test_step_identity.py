"""Steps whose identity Octopus has signed, and those who forge one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from pytest_httpserver import HTTPServer

from app.domain.access.identity import Identity, Limits, signed_parts
from app.domain.run import RunState, State
from app.octopus.tasks import Task
from app.settings import BadSettings, load_settings
from tests.integration.test_owners import Gate
from workers.check import contradiction

KEY, OTHER_KEY = (RSAKey.generate_key(2048, parameters={"kid": kid}) for kid in ("one", "one"))
CURVE = ECKey.generate_key("P-256", parameters={"kid": "two"})
SUBJECT = "space:default:project:web:environment:production"
TOKENS = (
    "step:legacy:legacy-secret-of-twenty-chars,step:evil:evil-secret-of-twenty-chars;max_waiting=9,admin:a:" + "a" * 20
)


@pytest.fixture
def issuer(httpserver: HTTPServer) -> str:
    url = httpserver.url_for("").rstrip("/")
    metadata = {"issuer": url, "jwks_uri": f"{url}/.well-known/jwks"}
    httpserver.expect_request("/.well-known/openid-configuration").respond_with_json(metadata)
    keys = {"keys": [KEY.as_dict(private=False), CURVE.as_dict(private=False)]}
    httpserver.expect_request("/.well-known/jwks").respond_with_json(keys)
    return url


@pytest.fixture
def sign(issuer: str) -> Callable[..., str]:
    def sign(subject: str = SUBJECT, *, key: Any = KEY, alg: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": issuer, "aud": "octowait", "sub": subject, "iat": now, "exp": now + 3600, **claims}
        header = {"alg": alg, **({"kid": key.kid} if key.kid else {})}
        return jwt.encode(header, {name: value for name, value in body.items() if value is not None}, key,
                          algorithms=[alg])  # fmt: skip

    return sign


@pytest.fixture
def gate(make_service, board, issuer) -> Gate:
    return Gate(make_service(OCTOWAIT_TOKENS=TOKENS, OCTOWAIT_STEP_OIDC_ISSUER=issuer))


def status_of(gate: Gate, token: str) -> int:
    gate.service.tokens["other"] = token
    return gate.service.call("GET", "/api/waits/ServerTasks-99", role="other")[0]


@pytest.mark.parametrize(("key", "alg"), [(KEY, "RS256"), (KEY, "PS256"), (CURVE, "ES256")])
def test_step_joins_with_an_identity_that_octopus_signed(gate, board, sign, key, alg):
    gate.service.tokens["signed"] = sign(key=key, alg=alg)

    assert gate.join("signed", 1)["state"] == "granted"
    assert board.place("ServerTasks-1").run.owner == "octopus:default/web"


FORGED: dict[str, dict[str, Any]] = {
    "another key of the same id": {"key": OTHER_KEY},
    "another audience": {"aud": "api://default"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://octopus.example.com"},
    "too old": {"exp": int(time.time()) - 120},
    "without an end": {"exp": None},
    "not yet": {"nbf": int(time.time()) + 3600},
    "no project": {"subject": "space:default:environment:production"},
    "no space": {"subject": "project:web"},
    "half a pair": {"subject": "space:default:project"},
    "no subject": {"subject": None},
    "claims that differ": {"https://octopus.com/claims/project": "api"},
    "signed by a secret": {"key": OctKey.import_key("s" * 32), "alg": "HS256"},
}


@pytest.mark.parametrize("how", FORGED)
def test_forged_identity_is_none(gate, sign, how):
    assert status_of(gate, sign(**FORGED[how])) == 401
    assert status_of(gate, sign()) == 404


@pytest.mark.parametrize(
    "token", ["eyJ.eyJ.x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "eyJ" + "a" * 7000 + ".b.c", "eyJ4Ijox.b.c"]
)
def test_what_is_no_token_is_none(gate, token):
    assert status_of(gate, token) == 401


def test_claims_of_newer_servers_count_as_the_subject_does(gate, board, sign):
    claims = {f"https://octopus.com/claims/{key}": value for key, value in (("space", "default"), ("project", "web"))}
    gate.service.tokens["signed"] = sign("anything", **claims)
    assert status_of(gate, sign("anything", **claims)) == 401

    gate.service.tokens["signed"] = sign("environment:production", **claims)
    gate.join("signed", 1)
    assert board.place("ServerTasks-1").run.owner == "octopus:default/web"


def test_identity_that_ends_stays_good_for_its_claim(gate, make_service, board, sign, issuer):
    gate.service.tokens["signed"] = sign(exp=int(time.time()) - 57)
    claim = "a" * 32
    assert gate.join("signed", 1, claim=claim)["state"] == "granted"
    # Another process has not seen it before, and its keys are others by now.
    later = make_service(OCTOWAIT_TOKENS=TOKENS, OCTOWAIT_STEP_OIDC_ISSUER="")
    later.tokens = dict(gate.service.tokens)

    headers = {"X-Octowait-Claim": claim}
    assert later.call("GET", "/api/waits/ServerTasks-1", role="signed", headers=headers)[1]["state"] == "granted"
    assert later.call("GET", "/api/waits/ServerTasks-1", role="signed")[0] == 401
    assert later.call("DELETE", "/api/waits/ServerTasks-1", role="signed", headers=headers)[1]["outcome"] == "released"


def test_two_projects_have_their_own_runs_and_a_hostile_one_gains_nothing(gate, board, sign):
    gate.service.tokens |= {
        "web": sign(), "api": sign("space:default:project:api"), "hostile": sign("space:default:project:hostile"),
    }  # fmt: skip
    gate.join("web", 1)
    gate.join("api", 2)
    before = [vars(board.place(f"ServerTasks-{task}").run) for task in (1, 2)]

    for who in ("hostile", "legacy", "evil"):
        for task in (1, 2):
            assert gate.release(who, task)["outcome"] == "nothing"
            assert gate.poll(who, task)[0] in (200, 404)
        assert gate.join(who, 3, on_behalf_of="ServerTasks-1")["state"] == "waiting"
        gate.release(who, 3)

    assert [vars(board.place(f"ServerTasks-{task}").run) for task in (1, 2)] == before
    assert gate.release("web", 1)["outcome"] == "released"
    assert gate.poll("api", 2)[1]["state"] == "granted"


def test_signed_identity_goes_before_a_token_that_says_nothing(gate, board, sign):
    gate.service.tokens["web"] = sign()
    gate.join("evil", 500, "Machines-99")

    assert gate.join("web", 500, "Machines-7")["state"] == "granted"
    assert gate.join("evil", 500, "Machines-99")["state"] != "granted"
    assert board.place("ServerTasks-500").run.owner == "octopus:default/web"


def test_issuer_that_does_not_answer_is_waited_for(make_service, httpserver):
    """A step that is told 401 would end within a minute."""
    gate = Gate(make_service(OCTOWAIT_TOKENS=TOKENS, OCTOWAIT_STEP_OIDC_ISSUER=httpserver.url_for("/nowhere")))
    body = {"iss": "x", "aud": "octowait", "sub": SUBJECT, "exp": int(time.time()) + 60}

    assert status_of(gate, jwt.encode({"alg": "RS256", "kid": "one"}, body, KEY)) == 503


def test_keys_that_nobody_knows_are_asked_for_once_in_a_while(gate, sign, httpserver):
    for number in range(5):
        status_of(gate, sign(key=RSAKey.generate_key(2048, parameters={"kid": f"kid-{number}"})))

    assert sum(request.path.endswith("/jwks") for request, _ in httpserver.log) <= 1


def test_subject_keys_have_a_space_and_a_project():
    keys = load_settings({"OCTOWAIT_STEP_OIDC_SUBJECT_KEYS": "space,project,environment"}).step_oidc_subject_keys
    assert signed_parts("octopus:default/web/production", keys)["environment"] == "production"
    for wrong in ("project", "space,project,machine"):
        with pytest.raises(BadSettings, match="expected space and project, and perhaps others of"):
            load_settings({"OCTOWAIT_STEP_OIDC_SUBJECT_KEYS": wrong})


@pytest.mark.parametrize(("slug", "is_wrong"), [("web", False), ("api", True)])
def test_identity_is_compared_with_the_project_of_the_task(slug, is_wrong):
    task = Task.read({"Id": "ServerTasks-1", "State": "Executing", "Arguments": {"DeploymentId": "Deployments-1"}})
    run = RunState("ServerTasks-1", State.GRANTED, owner="octopus:default/web")
    signed = signed_parts(run.owner, ("space", "project"))

    why = contradiction(run, task, signed=signed, slugs={"space": "default", "project": slug})

    assert bool(why) is is_wrong


def test_slugs_decide_whose_a_run_is():
    web = Identity("octopus:default/web", signed=(("project", "web"), ("space", "default")))

    assert web.covers("Spaces-1", "Projects-1", {"space": "default", "project": "web"}) is True
    assert web.covers("Spaces-1", "Projects-1", {"space": "default", "project": "api"}) is False
    assert web.covers("Spaces-1", "Projects-1", None) is None
    assert Identity("bare", Limits()).covers("Spaces-1", "Projects-1", {"project": "web"}) is None
