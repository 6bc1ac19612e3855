"""The body of a request arrives in its time, or its request ends with a problem of its own."""

import io

import gevent
import pytest

from app.web.bodies import Body
from app.web.errors import Problem


class SlowStream:
    """Never sends anything."""

    def read(self, size=-1):
        gevent.sleep(60)

    readline = read


@pytest.mark.parametrize("read", [Body.read, Body.readline])
def test_body_that_does_not_arrive_in_time_is_a_problem(read):
    with pytest.raises(Problem) as problem:
        read(Body(SlowStream(), 0.01))

    assert (problem.value.status, problem.value.code) == (408, "body_too_slow")
    assert "within 0.01 s" in problem.value.detail


def test_time_of_somebody_else_that_is_over_is_no_problem_of_the_body():
    with pytest.raises(gevent.Timeout) as over, gevent.Timeout(0.01) as others:
        Body(SlowStream(), 60).read()

    assert over.value is others


def test_time_of_a_body_that_was_read_is_over_for_nobody():
    body = Body(io.BytesIO(b"all of it"), 0.01)

    assert body.read(9) == b"all of it" and body.is_read("9")
    gevent.sleep(0.03)
