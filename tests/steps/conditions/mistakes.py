"""Rules 12, 14, 15, 18: mistakes of the set-up and of the surroundings are told at once, with the remedy."""

from __future__ import annotations

import re
import time

import wording
from stand_in import closing, granted, page, problem, waiting

from conditions import condition
from conditions.world import World, path_without, said, seconds_since

SHORT = {"Octowait.TimeoutMinutes": "0.02"}


@condition(12)
def an_address_that_no_client_takes_is_refused(world: World) -> None:
    for url in ("https://octowait.example.com:99999", "https://octowait:0", "http://host:80a", "http:///x", "http://[::1",
                "https://octowait.example.com?x=1", "ftp://octowait", "http://octo wait"):  # fmt: skip
        assert world.fails("wait", url) == f"{wording.URL.format(value=url)}."


@condition(12)
def an_address_with_a_password_is_refused_without_a_word_of_it(world: World) -> None:
    for verb, url in (("wait", "https://user:secret@octowait"), ("claim", "http://user:se/cret@octowait:1")):
        assert world.fails(verb, url) == f"{wording.URL_USER}."
    step = world.run("release", "https://user:secret@octowait")
    assert step.printed.at("warning") == [wording.NOT_RELEASED.format(why=f"{wording.URL_USER}.")]


@condition(12)
def letter_case_and_a_path_are_taken(world: World) -> None:
    server = world.server(granted())

    world.run("wait", server.url.replace("http", "HTTP") + "/octowait/")

    assert {request.target for request in server.requests} == {"/octowait/api/waits/ServerTasks-1"}


@condition(14)
def a_name_that_does_not_resolve_is_said(world: World) -> None:
    around = world.with_hosts(name_server="127.0.0.1")  # where none listens

    last = world.fails("wait", "http://octowait.test", SHORT, around=around)

    assert re.search(wording.pattern(wording.NO_NAME, host="octowait.test"), last)


@condition(14)
def a_connection_that_is_refused_is_said(world: World) -> None:
    reason = wording.pattern(wording.NO_CONNECTION, host="127.0.0.1", port=1)

    assert re.search(rf"{re.escape('octowait did not answer (')}{reason}\)\.$", world.fails("wait", variables=SHORT))


@condition(14)
def an_answer_that_never_came_is_said(world: World) -> None:
    assert f"({wording.CUT})" in world.fails("wait", world.server(closing), SHORT)


@condition(14)
def an_unknown_authority_is_said_and_where_to_put_it(world: World) -> None:
    server = world.server(granted(), tls=world.tls()[0])
    url = f"https://localhost:{server.port}"
    wish = {**SHORT, "Octowait.WhenUnreachable": "proceed"}

    last = world.fails("wait", url, wish)

    assert re.search(wording.pattern(wording.CERTIFICATE, host="localhost"), last)
    assert "something else did" in last, "a wrong certificate must not switch the gate off"
    assert server.requests == []


@condition(14)
def a_certificate_for_another_name_is_said(world: World) -> None:
    context, authority = world.tls("elsewhere.test")
    server = world.server(granted(), tls=context)

    last = world.fails("wait", f"https://localhost:{server.port}", SHORT, env={"SSL_CERT_FILE": str(authority)})

    assert re.search(wording.pattern(wording.CERTIFICATE, host="localhost"), last)
    assert re.search("name|match|mismatch", last), "the client's own reason"


@condition(14)
def an_expired_certificate_is_said(world: World) -> None:
    context, authority = world.tls(days=0)
    server = world.server(granted(), tls=context)

    last = world.fails("wait", f"https://localhost:{server.port}", SHORT, env={"SSL_CERT_FILE": str(authority)})

    assert re.search(wording.pattern(wording.CERTIFICATE, host="localhost"), last)
    assert re.search("expired|NotTimeValid|validity", last), "the client's own reason"


@condition(14)
def a_server_without_tls_is_said(world: World) -> None:
    server = world.server(page(400))

    last = world.fails("wait", f"https://127.0.0.1:{server.port}", {**SHORT, "Octowait.WhenUnreachable": "proceed"})

    assert re.search(wording.pattern(wording.NO_TLS, host="127.0.0.1"), last)


@condition(14)
def a_refused_token_names_its_parameter(world: World) -> None:
    server = world.server(
        problem(403, "forbidden", "token x has role viewer"), deletes=[problem(401, "unauthorized", "no")]
    )

    message = wording.TOKEN.format(status=403, detail="token x has role viewer")
    assert world.fails("claim", server) == wording.REFUSED.format(message=message)
    step = world.run("release", server, {"Octowait.Claim": "0123456789abcdef"})
    why = wording.TOKEN.format(status=401, detail="no") + "."
    assert step.printed.at("warning") == [wording.NOT_RELEASED.format(why=why)]


@condition(15)
def noise_before_an_answer_is_no_part_of_it(world: World) -> None:
    (world.directory / ".curlrc").write_text("verbose\nsilent\ninclude\nmax-time = 1\nproxy = 127.0.0.1:1\n")
    module = world.module(bash="export LD_PRELOAD=/is/not/there.so")
    server = world.server(waiting(), granted())

    # PowerShell would unpack itself into another home.
    home = {"HOME": str(world.directory)} if world.language == "bash" else {}
    step = world.run("wait", server, env=home, module=module)

    assert step.printed.variables["Octowait.State"] == "granted"
    assert server.methods == ["PUT", "GET", "GET"]


@condition("older ground", languages=("bash",))
def without_curl_a_step_fails_at_once(world: World) -> None:
    module = f"PATH={path_without(world.directory, 'curl')}"
    started = time.monotonic()

    for verb in ("wait", "claim"):
        assert world.fails(verb, module=module) == wording.NO_CURL
    step = world.run("release", module=module)
    assert step.printed.at("warning") == [wording.NOT_RELEASED.format(why=wording.NO_CURL)]
    assert seconds_since(started) <= 12


@condition("older ground", languages=("bash",))
def an_old_curl_sends_the_body_as_it_is(world: World) -> None:
    """Before 7.43 there was no data-raw."""
    old = world.directory / "old"
    old.mkdir()
    (old / "curl").write_text(
        '#!/bin/bash\nPATH=${PATH#*:}\nif [ -t 0 ]; then exec curl "$@"; fi\nsed "/^ *data-raw/d" | exec curl "$@"\n'
    )
    (old / "curl").chmod(0o755)
    server = world.server(granted())

    world.run("wait", server, {"Octopus.Project.Name": "@Web"}, module=f"PATH={old}:$PATH")

    assert server.requests[0].json["project"]["name"] == "@Web"


@condition("older ground")
def an_octopus_without_progress_gets_none(world: World) -> None:
    module = world.module(
        powershell="Remove-Item Function:\\Update-Progress",
        bash="unset -f update_progress",
        python="del updateprogress",
    )
    server = world.server(waiting(), granted())

    step = world.run("wait", server, module=module)

    assert step.printed.variables["Octowait.State"] == "granted"
    assert "not found" not in step.output


@condition(18)
def machines_are_separated_by_commas_semicolons_and_lines(world: World) -> None:
    server = world.server(granted())

    world.run("wait", server, {"Octowait.Machines": "Machines-1, Machines-2;Machines-3\nMachines-4\r\n;"})

    assert server.requests[0].json["machines"] == [f"Machines-{number}" for number in (1, 2, 3, 4)]


@condition(18)
def proceed_is_understood_in_any_letter_case(world: World) -> None:
    for value in ("Proceed", "PROCEED"):
        step = world.run("wait", variables={**SHORT, "Octowait.WhenUnreachable": value})
        assert said(step, wording.pattern(wording.PROCEEDING))
    assert "WITHOUT" not in world.fails("wait", variables={**SHORT, "Octowait.WhenUnreachable": "Fail"})


@condition(18)
def a_runbook_run_says_its_link(world: World) -> None:
    link = "/app#/Spaces-1/projects/x/operations/runbooks/y/runs/RunbookRuns-5"
    runbook = {"Octopus.RunbookRun.Id": "RunbookRuns-5", "Octopus.Web.RunbookRunLink": link}
    server = world.server(granted())

    world.run("wait", server, {**runbook, "Octopus.Web.ServerUri": "https://octopus.example.com/"})
    world.run("claim", server, {**runbook, "Octopus.Web.BaseUrl": "https://octopus.example.com"})

    urls = [request.json["url"] for request in server.requests if request.method == "PUT"]
    assert urls == [f"https://octopus.example.com{link}"] * 2


@condition(20)
def letters_are_compared_as_letters_in_every_culture(world: World) -> None:
    module = world.module(
        powershell="$c = [System.Globalization.CultureInfo]::GetCultureInfo('tr-TR')\n"
        "[System.Threading.Thread]::CurrentThread.CurrentCulture = $c"
    )
    server = world.server(granted())
    given = {"Octowait.Token": "IiIi-TITLE", "OctopusBypassDeploymentMutex": "TRUE", "Octopus.Machine.Id": "Machines-1"}

    world.run("wait", server, given, module=module)

    assert server.requests[0].headers["authorization"] == "Bearer IiIi-TITLE"
    for odd in ("Machines-\u0130", "\u212a-1"):
        assert odd in world.fails("wait", server, {"Octowait.Machines": odd}, module=module)
