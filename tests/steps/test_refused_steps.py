"""A poll that is refused once is none of the reader's business: a server restarts, or one of two is away."""

from __future__ import annotations

import pytest
import wording
from conditions.world import World
from first_call import put_at_first_call

#: What each call comes to instead of going anywhere.
CALLS = {
    "bash": """
outcomes=({outcomes} granted)
outcomes_at=0
call() {{
  status='' retry_after=0 failure='' is_refused=False
  case ${{outcomes[outcomes_at]}} in
    refused) is_refused=True && no_connection "refused" ;;
    granted) status=200 text=$'granted 7\\nGranted.\\n' ;;
    *) status=200 text=$'waiting 2\\nWaiting for web-01.\\n' ;;
  esac
  outcomes_at=$((outcomes_at + 1))
}}
spread_calls() {{ :; }}
""",
    "python": """
outcomes = iter("{outcomes} granted".split())


def call(method, query, body, limit):
    global was_refused
    outcome = next(outcomes)
    was_refused = outcome == "refused"
    if was_refused:
        return no_answer("no connection to 127.0.0.1:1 (refused)", True)
    message = "Granted." if outcome == "granted" else "Waiting for web-01."
    text = json.dumps({{"state": outcome, "message": message, "fencing_token": 7, "place": 2}})
    return Reply(200, text, 0, False, "")


def keep_apart():
    pass
""",
    "powershell": """
$octowait.outcomes = [System.Collections.Queue]@('{outcomes} granted' -split ' ')
function Invoke-OctowaitCall([string]$method, [string]$query, [string]$json, [int]$seconds) {{
    $outcome = $octowait.outcomes.Dequeue()
    $octowait.isRefused = $outcome -ceq 'refused'
    if ($octowait.isRefused) {{
        return New-OctowaitFailure 'silence' 'no connection to 127.0.0.1:1 (refused)'
    }}
    $text = @{{ granted = "granted 7`nGranted.`n"; waiting = "waiting 2`nWaiting for web-01.`n" }}[$outcome]
    return @{{ kind = ''; reason = ''; status = 200; text = $text; retryAfter = 0 }}
}}
function Wait-OctowaitSecond {{ }}
""",
}
WAITING = "Waiting for web-01."
INTERRUPTED = wording.ASKING_AGAIN.format(reason=wording.NO_CONNECTION.format(host="127.0.0.1", port=1, why="refused"))


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ("waiting refused waiting refused waiting refused waiting", [WAITING]),
        ("waiting refused refused waiting", [WAITING, INTERRUPTED, WAITING]),
        ("waiting waiting refused refused refused", [WAITING, INTERRUPTED]),
        ("refused waiting waiting refused", [INTERRUPTED, WAITING]),
    ],
    ids=["every other", "twice", "three times", "the first call"],
)
def test_only_the_second_refusal_in_a_row_is_said(world: World, outcomes: str, said: list[str]) -> None:
    put_at_first_call(world, "wait", CALLS[world.language].format(outcomes=outcomes))

    step = world.run("wait")

    assert step.printed.at("wait") == said
    assert step.variables["Octowait.FencingToken"] == "7"


#: A call whose thread learns only after the limit that it was refused.
LATE_REFUSAL = """
gate = threading.Event()


def exchange(*call):
    gate.wait()
    raise Refused("late")


call("GET", "", None, 0.05)
gate.set()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
say_wait(f"refused: {was_refused}")
"""


@pytest.mark.parametrize("language", ["python"], indirect=True)
def test_a_call_that_is_over_says_nothing_of_the_next(world: World) -> None:
    put_at_first_call(world, "wait", LATE_REFUSAL, is_end=True)

    assert world.run("wait").printed.at("wait") == ["refused: False"]
