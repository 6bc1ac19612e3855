"""Rules 14, 16, 17: the same route in every language: proxies, exceptions, authorities; and who asks."""

from __future__ import annotations

import base64
import re
import subprocess

import wording
from run_step import eventually
from stand_in import closing, granted, outcome, page, problem, silent, tunnel, waiting

from conditions import condition
from conditions.world import World

OCTOWAIT = "http://octowait.example.com"
ASKED = f"{OCTOWAIT}/api/waits/ServerTasks-1"
SHORT = {"Octowait.TimeoutMinutes": "0.02"}


def _proxies(url: str) -> dict[str, str]:
    """The environment as Calamari sets it."""
    return {name: url for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")}


@condition(16)
def a_proxy_of_the_environment_is_used_in_either_case(world: World) -> None:
    for names in (["HTTP_PROXY"], ["http_proxy"], list(_proxies(""))):
        proxy = world.server(granted())
        world.run("wait", OCTOWAIT, env=dict.fromkeys(names, proxy.url))
        assert {request.target for request in proxy.requests} == {ASKED}


@condition(16)
def release_takes_the_same_way(world: World) -> None:
    proxy = world.server(problem(404, "unknown_run"), deletes=[outcome("released")])

    world.run("release", OCTOWAIT, {"Octowait.Claim": "0123456789abcdef"}, env=_proxies(proxy.url))

    assert [request.target for request in proxy.requests] == [ASKED]


@condition(16)
def exceptions_of_the_environment_are_heeded_in_either_case(world: World) -> None:
    proxy, server = world.server(page(502)), world.server(granted())

    for name, value in (("NO_PROXY", "a.test, 127.0.0.1"), ("no_proxy", "*"), ("NO_PROXY", f"127.0.0.1:{server.port}")):
        world.run("wait", server, env={**_proxies(proxy.url), name: value})
    assert proxy.requests == []


@condition(16)
def a_domain_is_an_exception_with_all_below_it(world: World) -> None:
    server, proxy = world.server(granted()), world.server(granted(18))
    around = world.with_hosts("127.0.0.1 wait.octo.test", "127.0.0.1 notocto.test")

    for value in ("octo.test", ".octo.test"):
        env = {**_proxies(proxy.url), "NO_PROXY": value}
        world.run("wait", f"http://wait.octo.test:{server.port}", env=env, around=around)
        assert proxy.requests == []
    world.run("wait", f"http://notocto.test:{server.port}", env=env, around=around)
    assert proxy.requests


@condition(16)
def the_parameter_goes_before_the_environment(world: World) -> None:
    other, proxy, server = world.server(page(502)), world.server(granted()), world.server(granted())
    env = {**_proxies(other.url), "NO_PROXY": "octowait.example.com"}

    world.run("wait", OCTOWAIT, {"Octowait.Proxy": proxy.url}, env=env)
    world.run("wait", server, {"Octowait.Proxy": "None"}, env=_proxies(other.url))

    assert [len(proxy.requests) > 0, len(server.requests) > 0, other.requests] == [True, True, []]


@condition(16)
def an_unset_parameter_is_the_environment(world: World) -> None:
    proxy = world.server(granted())

    world.run("wait", OCTOWAIT, {"Octowait.Proxy": "#{Octowait.Proxy}"}, env=_proxies(proxy.url))

    assert proxy.requests


@condition(16)
def a_proxy_gets_its_user_and_password_and_nobody_else(world: World) -> None:
    proxy = world.server(granted())
    url = proxy.url.replace("://", "://worker:p%40ss-word@")

    step = world.run("wait", OCTOWAIT, {"Octowait.Proxy": url})

    expected = "Basic " + base64.b64encode(b"worker:p@ss-word").decode()
    assert {request.headers.get("proxy-authorization") for request in proxy.requests} == {expected}
    assert "ss-word" not in step.output


@condition(16)
def a_proxy_s_password_is_in_no_process_list_and_in_no_message(world: World) -> None:
    proxy = world.server(silent)
    given = {"Octowait.Proxy": proxy.url.replace("://", "://worker:see-me-not@")}
    step = world.start("wait", OCTOWAIT, given)
    eventually(lambda: proxy.requests)

    listing = subprocess.run(["ps", "-ww", "-eo", "sess,args"], capture_output=True, text=True, check=True)
    own = [row for row in listing.stdout.splitlines() if row.split()[0] == str(step.process.pid)]
    assert own and "see-me-not" not in "\n".join(own)
    refused = world.run(
        "wait", OCTOWAIT, {**SHORT, "Octowait.Proxy": "http://worker:see-me-not@127.0.0.1:1"}, fails=True
    )
    assert "see-me-not" not in refused.output


@condition(16)
def a_proxy_that_is_none_is_refused_without_its_value(world: World) -> None:
    for value in ("http://worker:see-me-not@", "proxy.elsewhere.test", "socks5://proxy:1080", "http://proxy:99999"):
        step = world.run("wait", OCTOWAIT, {"Octowait.Proxy": value}, fails=True)
        assert step.printed.result == f"{wording.PROXY}."
        assert value not in step.output


@condition(16)
def a_proxy_of_the_environment_that_is_none_is_said_without_its_value(world: World) -> None:
    for value in ("http://worker:see/me-not@proxy:1", "socks5://proxy:1080", "http://proxy:99999"):
        wish = {**SHORT, "Octowait.WhenUnreachable": "proceed"}
        step = world.run("wait", OCTOWAIT, wish, env={"HTTP_PROXY": value}, fails=True)
        assert f"({wording.PROXY_OF_ENVIRONMENT.format(name='HTTP_PROXY')})" in step.printed.result
        assert value not in step.output and "see" not in step.output


@condition(16)
def tls_goes_through_a_tunnel_with_an_authority_of_our_own(world: World) -> None:
    context, authority = world.tls()
    server = world.server(waiting(), granted(), tls=context)
    proxy = world.server(tunnel(server.port))
    url = f"https://localhost:{server.port}"

    step = world.run("wait", url, env={"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority)})

    assert step.printed.variables["Octowait.State"] == "granted"
    assert {request.target for request in proxy.requests} == {f"localhost:{server.port}"}


@condition(14)
def a_proxy_that_answers_itself_is_named(world: World) -> None:
    for url in (OCTOWAIT, OCTOWAIT.replace("http", "https")):
        proxy = world.server(page(503))
        last = world.fails("wait", url, SHORT, env=_proxies(proxy.url.replace("://", "://worker:see-me-not@")))
        reason = wording.NOT_OCTOWAIT.format(status=503) + wording.THROUGH.format(proxy=proxy.url)
        assert f"({reason})" in last


@condition(14)
def a_proxy_that_wants_a_password_is_named_with_the_remedy(world: World) -> None:
    for url in (OCTOWAIT, OCTOWAIT.replace("http", "https")):
        proxy = world.server(page(407, Proxy_Authenticate="Basic realm=x"))
        wish = {**SHORT, "Octowait.WhenUnreachable": "proceed"}
        last = world.fails("wait", url, wish, env=_proxies(proxy.url))
        assert f"({wording.PROXY_USER.format(proxy=proxy.url)})" in last


@condition(14)
def a_proxy_that_is_not_there_is_named(world: World) -> None:
    last = world.fails("wait", OCTOWAIT, {**SHORT, "Octowait.Proxy": "http://127.0.0.1:1"})

    assert re.search(wording.pattern(wording.NO_PROXY_CONNECTION, proxy="http://127.0.0.1:1"), last)


@condition(14)
def a_proxy_that_hangs_up_is_named(world: World) -> None:
    proxy = world.server(closing)

    last = world.fails("wait", OCTOWAIT, SHORT, env=_proxies(proxy.url))

    assert f"({wording.CUT}{wording.THROUGH.format(proxy=proxy.url)})" in last


@condition(17)
def every_call_says_who_asks(world: World) -> None:
    server = world.server(waiting(), granted())
    for verb in ("wait", "claim", "release"):
        server.requests.clear()
        world.run(verb, server)
        agents = {request.headers["user-agent"] for request in server.requests}
        assert agents == {f"octowait-{verb}/2 ({world.language})"}
        assert {request.headers["x-octowait-version"] for request in server.requests} == {"2"}


@condition(17)
def a_token_arrives_as_it_is(world: World) -> None:
    server = world.server(granted())
    token = "".join(map(chr, range(ord("!"), ord("~") + 1)))

    step = world.run("wait", server, {"Octowait.Token": token})

    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {token}"}
    assert token not in step.output


@condition(17)
def a_call_is_one_round_trip(world: World) -> None:
    server = world.server(granted())

    world.run("wait", server)

    put = server.requests[0]
    assert "expect" not in put.headers
    assert put.headers["content-type"] == "application/json; charset=utf-8"
    assert put.headers["content-length"] == str(len(put.body))
