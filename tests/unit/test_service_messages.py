"""The simulated server reads what a script says as Octopus does, character by character."""

from __future__ import annotations

import base64

import pytest

from tests.simulator.service_messages import Message, read


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


NAME, VALUE = encoded("Color"), encoded("blue ]'")
SET = f"##octopus[setVariable name='{NAME}' value='{VALUE}']"
FOUND = Message("setVariable", {"name": "Color", "value": "blue ]'"})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([SET], [FOUND], id="a line of its own"),
        pytest.param([f"Deploying {SET} to web-01"], [FOUND, "Deploying "], id="anywhere; the rest is not read"),
        pytest.param([f"{SET}{SET}"], [FOUND], id="one a line"),
        pytest.param([SET[:30], SET[30:], "after"], [FOUND, "after"], id="from line to line"),
        pytest.param(["##octopus[progress", "of the work", "]", "after"], ["after"], id="open until the next bracket"),
        pytest.param(["a #", SET], ["a #", SET], id="a hash at the end spoils the next start"),
        pytest.param([f"#{SET}"], [f"#{SET}"], id="three hashes"),
        pytest.param(["##octo puses ##"], ["##octo puses ##"], id="only similar"),
        pytest.param(["##octopus[setVariable name='not base64!']", "after"], ["after"], id="no base64"),
        pytest.param(["##octopus[]", "##octopus[ 1 ]", "after"], ["after"], id="no name"),
        pytest.param(["##octopus[stdout-verbose]", "text"], [Message("stdout-verbose", {}), "text"], id="no values"),
        pytest.param(["", "text"], ["", "text"], id="an empty line"),
        pytest.param([f'##octopus [setVariable Name="{NAME}"]'], [Message("setVariable", {"name": "Color"})],
                     id="spaces, double quotes, letter case"),
    ],
)  # fmt: skip
def test_messages_and_lines(lines: list[str], said: list[Message | str]) -> None:
    assert read(lines) == said
