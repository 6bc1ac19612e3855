"""The keys of one namespace. All share a hash tag, so that on Redis Cluster a namespace lives on one shard."""

from __future__ import annotations

from dataclasses import dataclass

#: In the order of ``KEYS`` in every script; what each holds stands in ``lua/lib/keys.lua``.
NAMES = (
    "runs", "lines", "holders", "deadlines", "reservations", "counters", "machines", "events", "aliases", "unresolved",
    "ended", "timeline", "index:", "wake:", "wakes", "blocking", "children", "resumes", "batches",
    "plan:",
)  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """Key names, e.g. ``octowait:{default}:runs``."""

    namespace: str

    def __getattr__(self, name: str) -> str:
        if name not in NAMES:
            raise AttributeError(name)
        return self.named(name)

    def named(self, name: str) -> str:
        return f"octowait:{{{self.namespace}}}:{name}"

    def wake(self, task_id: str) -> str:
        """The list a client can block on until the run waits no longer."""
        return self.named("wake:") + task_id

    def index(self, kind: str, value: str) -> str:
        """The index stream of a ``run``, ``machine`` or ``project``."""
        return f"{self.named('index:')}{kind}:{value.lower()}"

    def all(self) -> list[str]:
        return [self.named(name) for name in NAMES]
