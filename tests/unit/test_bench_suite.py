"""A run of many benches goes on where one of them fails."""

import signal
from types import SimpleNamespace

from tests.bench.report import Report
from tests.bench.suite import run_bench


def run(act, seconds=60):
    report = Report(quick=False)
    return run_bench(report, "webhook", lambda name: SimpleNamespace(run=act), seconds=seconds), report


def test_bench_that_fails_is_told_of_and_what_it_measured_counts():
    def act(report):
        report.measured("P6.bare", 0.8)
        raise ConnectionError("the server hung up")

    failures, report = run(act)

    assert failures == ["webhook: ConnectionError: the server hung up"]
    assert [check.value for check in report.checks] == [0.8]


def test_bench_that_hangs_is_given_up():
    failures, _ = run(lambda report: signal.pause(), seconds=0.01)

    assert failures == ["webhook: TimeoutError: not done after 0 s"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_bench_that_is_not_there_is_told_of():
    def load(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    assert run_bench(Report(quick=False), "webhook", load, seconds=60) == [
        "webhook: ModuleNotFoundError: No module named 'webhook'"
    ]


def test_bench_without_a_failure_says_nothing():
    failures, report = run(lambda report: report.table("Rates", ("", "a second"), [["octowait", 7000]]))

    assert failures == []
    assert report.tables[0].rows == [["octowait", "7,000"]]
