"""Who works on which machine as the steps themselves know it: from an answer "granted" until they send a release."""

from __future__ import annotations

from collections.abc import Sequence


class Exclusion:
    """Notes each breach: a run that read that it was granted while another family had a machine of it."""

    def __init__(self) -> None:
        self._works: dict[str, dict[str, str]] = {}
        self._machines: dict[str, Sequence[str]] = {}
        self.grants = 0
        self.breaches: list[str] = []

    def take(self, task: str, machines: Sequence[str], *, family: str) -> None:
        """*task* has read that it is granted; it shares machines with those of its *family* only."""
        self.grants += 1
        self._machines[task] = machines
        for machine in machines:
            workers = self._works.setdefault(machine, {})
            self.breaches += [
                f"{task} was granted {machine} while {other} held it" for other, its in workers.items() if its != family
            ]
            workers[task] = family

    def give(self, task: str) -> None:
        """*task* is about to end."""
        for machine in self._machines.pop(task, ()):
            self._works[machine].pop(task)
