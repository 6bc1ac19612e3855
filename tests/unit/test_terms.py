"""The terms line: what counts as one in a process, and what an intervention says with it."""

from datetime import timedelta

import pytest

from app.domain.run import MAX_PRIORITY
from app.domain.terms import (
    CLAIM_LINE,
    TERMS_LINE,
    Terms,
    claims_in,
    has_claim_line,
    has_terms_line,
    parse_terms,
    shows_terms,
)
from tests.conftest import ROOT


def filled(parent="", priority="", minutes=""):
    return f"octowait: on behalf of [{parent}], priority [{priority}], time-out [{minutes}] min"


def test_line_is_the_documented_one():
    page = (ROOT / "docs/how-to/wait-without-a-task-slot.md").read_text(encoding="utf-8")

    lines = [line.strip() for line in page.splitlines()]
    assert (lines.count(TERMS_LINE), lines.count(CLAIM_LINE)) == (1, 1)


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (TERMS_LINE, True),
        (f"octowait resumes this.\nProceed only by hand.\n{TERMS_LINE}", True),
        (f"One\r\n{TERMS_LINE}\r\nThree", True),
        (f"One\r{TERMS_LINE}\rThree", True),
        (f"    {TERMS_LINE}\t ", True),
        (f"#{{if X}}a#{{/if}}\n{TERMS_LINE}\n#{{unless Y}}b#{{/unless}}", True),
        ("", False),
        ("octowait", False),
        ("Security approval. octowait must not deploy this.", False),
        (filled(), False),
        (filled("#{Octowait.OnBehalfOf}", "0", "#{Octowait.TimeoutMinutes}"), False),
        (f"> {TERMS_LINE}", False),
        (f"{TERMS_LINE}.", False),
        (f"Do not write {TERMS_LINE}", False),
        (TERMS_LINE.replace(", priority", ",\npriority"), False),
        (TERMS_LINE.replace("octowait", "OCTOWAIT"), False),
        (TERMS_LINE.replace("#{", "##{"), False),
        (f"One\u2028{TERMS_LINE}\u2028Three", False),
        (f"One\x0b{TERMS_LINE}", False),
        ("#{Octopus.Release.Notes}", False),
        (f"Ask Jane.\n#{{if IsRoutine}}\n{TERMS_LINE}\n#{{/if}}", False),
        (f"#{{unless IsRisky}}\n{TERMS_LINE}\n#{{/unless}}\nAsk Jane.", False),
        (f"#{{ each a in b}}\n{TERMS_LINE}\n#{{/each}}", False),
        (f"#{{if A}}\n#{{if B}}#{{/if}}\n{TERMS_LINE}\n#{{/if}}", False),
    ],
)
def test_line_counts_in_a_process_only_whole_and_always(instructions, expected):
    assert has_terms_line(instructions) is expected


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (filled(), True),
        (TERMS_LINE, True),
        (f"Wait.\n{filled('ServerTasks-1', '5', '30')}", True),
        ("octowait", False),
        (f"As in: {filled()}", False),
        (filled("a\nb"), False),
    ],
)
def test_line_that_an_intervention_shows(instructions, expected):
    assert shows_terms(instructions) is expected


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (filled("ServerTasks-9", "5", "30"), Terms("ServerTasks-9", 5, timedelta(minutes=30), True)),
        (filled(f"ServerTasks-9.{'f' * 32}"), Terms(f"ServerTasks-9.{'f' * 32}", 0, timedelta(minutes=120), True)),
        (filled("ServerTasks-9.short"), Terms(None, 0, timedelta(minutes=120), True)),
        (filled("servertasks-9", "-3", "0.5"), Terms("servertasks-9", -3, timedelta(seconds=30), True)),
        (TERMS_LINE, Terms(None, 0, timedelta(minutes=120), True)),
        (filled(), Terms(None, 0, timedelta(minutes=120), True)),
        (filled("Deployments-9", "high", "soon"), Terms(None, 0, timedelta(minutes=120), True)),
        (filled(priority="9999999"), Terms(None, MAX_PRIORITY, timedelta(minutes=120), True)),
        (filled(priority="-9999999"), Terms(None, -MAX_PRIORITY, timedelta(minutes=120), True)),
        (filled("ServerTasks-٣"), Terms(None, 0, timedelta(minutes=120), True)),
        ("octowait resumes this deployment.", Terms()),
        (f"{filled('ServerTasks-1', '1000000', '1')}\n{filled()}", Terms()),
        (f"{filled('ServerTasks-1')}\n{filled('ServerTasks-1')}",
         Terms("ServerTasks-1", 0, timedelta(minutes=120), True)),
    ],
)  # fmt: skip
def test_terms_of_an_intervention(instructions, expected):
    assert parse_terms(instructions) == expected


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (CLAIM_LINE, True),
        (f"Wait.\n  {CLAIM_LINE}\r\n{TERMS_LINE}", True),
        (CLAIM_LINE.replace("[Claim]", "[Take a place – first]"), True),
        (CLAIM_LINE.replace("[Claim]", "[]"), False),
        (CLAIM_LINE.replace("Action[Claim]", "Project.Name"), False),
        (CLAIM_LINE.replace("Octowait.Claim", "Octowait.State"), False),
        ("octowait: claim #{Notes}", False),
        (f"octowait: claim {'a' * 32}", False),
        (f"{CLAIM_LINE} #{{Octopus.Release.Notes}}", False),
        (f"#{{if X}}\n{CLAIM_LINE}\n#{{/if}}", False),
    ],
)
def test_claim_line_counts_in_a_process_only_whole_always_and_of_a_step(instructions, expected):
    assert has_claim_line(instructions) is expected


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (f"Wait.\noctowait: claim {'a' * 32}\n{filled()}", {"a" * 32}),
        (f"octowait: claim {'a' * 32}\r\noctowait: claim {'b' * 32}", {"a" * 32, "b" * 32}),
        (f"octowait: claim {'a' * 32}.", set()),
        (f"Write octowait: claim {'a' * 32}", set()),
        (f"octowait: claim {'a' * 15}", set()),
        ("octowait: claim ", set()),
        (CLAIM_LINE, set()),
        (filled(), set()),
    ],
)
def test_claims_that_an_intervention_names(instructions, expected):
    assert claims_in(instructions) == expected
