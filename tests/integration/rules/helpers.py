"""What the tests of the rules look at, and how they say how long."""

from datetime import timedelta

from app.domain.records import Filter


def seconds(number):
    return timedelta(seconds=number)


def minutes(number):
    return timedelta(minutes=number)


def kinds(timeline, **wanted):
    return [record.kind for record in timeline.read(Filter(**wanted))]


def holders(board, task_id):
    return [(held.kind, held.task_id) for machine in board.place(task_id).machines for held in machine.holders]
