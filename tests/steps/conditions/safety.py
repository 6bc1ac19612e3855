"""Rules 1 to 6: nothing that is printed, cut, silenced or misspelt makes a deployment go on without its machines."""

from __future__ import annotations

import wording
from stand_in import closing, granted, page, problem, state, unended, waiting

from conditions import condition
from conditions.world import World, said

FOREIGN = "##octopus[setVariable name='cHduZWQ=' value='eWVz']"
ODD_LINES = {
    "a message of its own": f"Waiting for web-01: {FOREIGN}",
    "more hashes": f"Waiting for web-01: ##{FOREIGN}##",
    "an open message": "Waiting for web-01: ##octopus[stdout-verbose",
    "a hash at the end": "Waiting for web-01 #",
    "hashes at the end": "Waiting for web-01 ###",
    "control characters": "Waiting\rGranted\x1b[2K\x1b]0;x\x07 \x85 \u202e01-bew\u202c \u2028x",
}


@condition(1)
def machines_of_two_expressions_are_an_error(world: World) -> None:
    given = {"Octowait.Machines": "#{A},Machines-9,#{B}", "Octopus.Deployment.Machines": ""}
    both = "; ".join(wording.EXPRESSION.format(name="Octowait.Machines", expression=one) for one in ("#{A}", "#{B}"))

    assert world.fails("wait", variables=given) == f"{both}."


@condition(1)
def machines_of_a_misspelt_variable_are_an_error(world: World) -> None:
    given = {"Octowait.Machines": "#{My.Machnes}", "Octopus.Deployment.Machines": ""}
    expected = wording.EXPRESSION.format(name="Octowait.Machines", expression="#{My.Machnes}")

    assert world.fails("claim", variables=given) == f"{expected}."


@condition(1)
def release_warns_of_an_expression_in_its_machines(world: World) -> None:
    step = world.run("release", variables={"Octowait.Machines": "#{A},Machines-9"})

    why = wording.EXPRESSION.format(name="Octowait.Machines", expression="#{A}") + "."
    assert step.printed.at("warning") == [wording.NOT_RELEASED.format(why=why)]


@condition(2)
def what_octowait_says_is_no_command_to_octopus(world: World) -> None:
    server = world.server(*(waiting(place, text) for place, text in enumerate(ODD_LINES.values(), 1)), granted())

    step = world.run("wait", server)

    assert "pwned" not in step.printed.variables
    assert step.printed.variables["Octowait.State"] == "granted", "a message of the step was swallowed"
    assert len(step.printed.at("wait")) == len(ODD_LINES)
    assert len([kind for kind, _ in step.printed.messages if kind == "progress"]) == len(ODD_LINES)
    kept = step.output.replace("\r\n", "\n").replace("\n", "")
    assert not [char for char in kept if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\u202c\u2028"]


@condition(2)
def what_octowait_refuses_with_is_no_command_to_octopus(world: World) -> None:
    server = world.server(problem(409, "holds_others", f"no: {FOREIGN} #"))

    last = world.run("wait", server, fails=True).printed

    assert "pwned" not in last.variables
    assert last.result.startswith("octowait does not let this run wait: HTTP 409: no: # #octopus[setVariable")


@condition(2)
def what_a_parameter_holds_is_no_command_to_octopus(world: World) -> None:
    given = {"Octowait.Url": FOREIGN, "Octowait.Priority": FOREIGN, "Octowait.TimeoutMinutes": "#"}

    for verb in ("wait", "claim"):
        assert "pwned" not in world.run(verb, variables=given, fails=True).printed.variables
    assert "pwned" not in world.run("release", variables=given).printed.variables


@condition(2)
def a_link_that_is_none_is_not_printed(world: World) -> None:
    server = world.server(waiting(details=f"https://x/{FOREIGN}"), granted())

    assert "Details:" not in world.run("wait", server).output


@condition(2)
def a_line_of_any_length_is_cut(world: World) -> None:
    server = world.server(waiting(1, "Waiting for " + "m" * 20_000), granted())

    line = world.run("wait", server).printed.at("wait")[0]

    assert line == "Waiting for " + "m" * (wording.LINE_LIMIT - len("Waiting for ")) + " ..."


@condition(2)
def half_a_character_is_no_end_of_a_step(world: World) -> None:
    """JSON can hold what no text can."""
    server = world.server(
        problem(503, "busy", "half \ud800 of it"), problem(409, "holds_others", "the \udc00 other half")
    )

    last = world.fails("wait", server)

    assert last.startswith("octowait does not let this run wait: HTTP 409: the ") and last.endswith(" other half")


@condition(3)
def a_cut_first_line_is_no_grant(world: World) -> None:
    cut = unended("granted 1", '{"state": "granted", "fencing_token": 1')
    server = world.server(cut, granted(17), is_new=False)

    step = world.run("wait", server)

    assert step.printed.variables["Octowait.FencingToken"] == "17"
    assert said(step, wording.pattern(wording.ASKING_AGAIN, reason=wording.CUT))


@condition(3)
def a_first_line_without_a_message_is_a_grant(world: World) -> None:
    whole = unended("granted 17\n", '{"state": "granted", "fencing_token": 17}')

    step = world.run("wait", world.server(whole, is_new=False))

    assert step.printed.variables["Octowait.FencingToken"] == "17"


@condition(3)
def an_answer_shorter_than_it_says_is_cut(world: World) -> None:
    server = world.server(granted(1, missing=40), granted(17), is_new=False)

    assert world.run("wait", server).printed.variables["Octowait.FencingToken"] == "17"


@condition(3)
def a_state_that_octowait_does_not_have_is_no_answer_of_it(world: World) -> None:
    server = world.server(state("up", 1, "All is well."), granted(17))

    step = world.run("wait", server)

    assert step.printed.variables["Octowait.FencingToken"] == "17"
    assert said(step, wording.pattern(wording.ASKING_AGAIN, reason=wording.NOT_OCTOWAIT.format(status=200)))


@condition(4)
def going_on_without_waiting_is_always_heard(world: World) -> None:
    module = world.module(powershell="$global:WarningPreference = 'SilentlyContinue'")
    wish = {"Octowait.WhenUnreachable": "proceed", "Octowait.TimeoutMinutes": "0.02"}

    step = world.run("wait", variables=wish, module=module)

    assert any(" going on WITHOUT waiting, " in line for line in step.printed.at("warning"))
    assert any("not released" in line.lower() for line in world.run("release", module=module).printed.at("warning"))


@condition(5)
def a_failure_ends_the_step_whatever_a_module_has_made_of_failing(world: World) -> None:
    module = world.module(
        powershell="function global:Fail-Step($message) { Write-Host $message }",
        bash='fail_step() { echo "$1"; }',
        python="failstep = print",
    )
    server = world.server(problem(409, "holds_others", "holds others"))

    for verb in ("wait", "claim"):
        step = world.start(verb, server, module=module)
        assert step.ends() != 0, step.output
        assert "HTTP 409: holds others" in step.output
    assert server.methods == ["PUT", "PUT"]


@condition(5, languages=("powershell",))
def names_of_a_module_are_its_own(world: World) -> None:
    module = """
        Set-Variable -Name url -Value 'x' -Option ReadOnly -Scope Global
        Set-Variable -Name body -Value 'x' -Option Constant -Scope Global
        [string]$global:machines = 'x'
        [int]$global:token = 7
        [int]$global:answer = 7
        Set-Alias -Name Get-Elapsed -Value Get-Date -Scope Global -Option ReadOnly
        Set-Alias -Name Show-Wait -Value Get-Date -Scope Global -Option ReadOnly
        $global:PSDefaultParameterValues = @{ '*:Name' = 'x' }
        $global:OFS = '-'
    """
    server = world.server(waiting(), granted())

    assert world.run("wait", server, module=module).printed.variables["Octowait.State"] == "granted"


@condition(5, languages=("bash",))
def a_module_may_have_set_errexit_and_nounset(world: World) -> None:
    server = world.server(waiting(), closing, page(502), problem(503, "busy"), granted())

    for verb in ("wait", "claim", "release"):
        world.run(verb, server, module="set -eu\nset -o pipefail")


@condition(6)
def a_mutex_that_somebody_switched_on_is_refused(world: World) -> None:
    for verb in ("wait", "claim"):
        for value in ("False", "no"):
            last = world.fails(verb, variables={"OctopusBypassDeploymentMutex": value})
            assert last == wording.MUTEX.format(value=value)


@condition(6)
def on_a_target_or_on_behalf_of_one_the_advice_fits(world: World) -> None:
    target = {"Octopus.Machine.Id": "Machines-3"}

    assert world.fails("wait", variables=target) == wording.ON_TARGET_WAIT.format(target="Machines-3")
    assert world.fails("claim", variables=target) == wording.ON_TARGET_CLAIM.format(target="Machines-3")
    behalf = {**target, "Octopus.WorkerPool.Id": "WorkerPools-1"}
    for verb in ("wait", "claim"):
        assert world.fails(verb, variables=behalf) == wording.BEHALF.format(target="Machines-3")


@condition(6)
def a_bypassed_mutex_lets_a_step_run(world: World) -> None:
    bypassed = {"Octopus.Machine.Id": "Machines-3", "OctopusBypassDeploymentMutex": "true"}

    assert world.run("wait", world.server(granted()), bypassed).printed.variables["Octowait.State"] == "granted"
