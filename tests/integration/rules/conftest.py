"""The rules in docs, one small test for each fact: who may run, in which order, and what an event changes."""

import pytest

from tests.integration.octopus_tells import Octopus


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)
