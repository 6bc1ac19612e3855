from app.domain.analysis.fronts import Reason, Stretch
from app.domain.analysis.narrative import MOST_TOLD, listed, story
from app.domain.analysis.replay import Wait
from app.domain.wording import Names

NAMES = Names(runs={"servertasks-1": "ServerTasks-1 (Api 2.0.1 to Production)"}, machines={"machines-7": "web-01"})


def a_wait(*stretches, outcome="granted"):
    end = stretches[-1].to_ms if stretches else 0
    return Wait("ServerTasks-2", 1, ("Machines-7", "Machines-8"), None, None, 0, end, outcome, None, False, stretches)


def test_a_story_tells_each_stretch_in_order():
    parts = [
        Stretch(0, 60_000, Reason.HOLDER, "Machines-7", "ServerTasks-1"),
        Stretch(60_000, 65_000, Reason.AHEAD, "Machines-8", "ServerTasks-9"),
        Stretch(65_000, 70_000, Reason.RESERVATION, "Machines-7", note="disk, by ann"),
        Stretch(70_000, 71_000, Reason.REBUILDING),
        Stretch(71_000, 73_000, Reason.NOBODY),
    ]

    assert story(a_wait(*parts), NAMES) == [
        "It asked for web-01 and Machines-8 at 1970-01-01 00:00:00 UTC.",
        "For 1 min ServerTasks-1 (Api 2.0.1 to Production) held web-01.",
        "For 5 s ServerTasks-9 stood before it at Machines-8 and waited for another machine.",
        "For 5 s web-01 was reserved (disk, by ann).",
        "For 1 s octowait granted nothing until it knew again who runs where.",
        "For 2 s it is not on record who was in its way.",
        "After 1 min it was granted them all, at 1970-01-01 00:01:13 UTC.",
    ]


def test_a_long_story_tells_the_longest_stretches():
    parts = [Stretch(n * 1_000, (n + 1) * 1_000, Reason.HOLDER, "Machines-7", f"ServerTasks-{n}") for n in range(25)]

    told = story(a_wait(*parts), NAMES)

    assert len(told) == MOST_TOLD + 3
    assert told[-2] == "5 shorter stretches took another 5 s in all."


def test_every_end_has_a_sentence():
    ends = {
        outcome: story(a_wait(outcome=outcome), NAMES)[-1] for outcome in ("waiting", "observed", "timed_out", "lost")
    }

    assert ends["waiting"] == "It has waited for 0 s so far."
    assert "somebody let it go on" in ends["observed"]
    assert (
        ends["timed_out"] == ends["lost"] == "After 0 s it left the line without a grant, at 1970-01-01 00:00:00 UTC."
    )


def test_run_has_a_label_that_ends_where_its_environment_does():
    names = Names(
        runs={"servertasks-1": "ServerTasks-1 (Api 2.0.1 to Production (EU))", "servertasks-2": "ServerTasks-2"}
    )

    assert [names.label(task) for task in ("ServerTasks-1", "ServerTasks-2", "ServerTasks-3", None)] == [
        "Api 2.0.1 to Production (EU)", None, None, None,
    ]  # fmt: skip


def test_a_list_reads_like_one():
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_a_story_names_the_first_of_ten_thousand_machines():
    told = story(a_wait()._replace(machines=tuple(f"Machines-{n}" for n in range(10_000))), NAMES)

    assert told[0].startswith("It asked for Machines-0, Machines-1, ")
    assert told[0].endswith(", Machines-19 and 9980 more at 1970-01-01 00:00:00 UTC.")
