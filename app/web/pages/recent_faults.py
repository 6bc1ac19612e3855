"""What goes wrong, for pages that many read all the time: looked for once for all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app.coordination.snapshot import Snapshot
from app.domain.faults import Fault
from app.services import Services

#: Seconds for which one look counts.
RECENT = 10.0


class RecentFaults:
    """The faults as they were at most `RECENT` seconds ago."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looked_at = -RECENT
        self._faults: Sequence[Fault] = ()

    def of(self, snapshot: Snapshot) -> Sequence[Fault]:
        """As `Services.faults`. Whoever comes while somebody looks is told what was found before.

        Raises:
            StoreError: Redis does not answer.
        """
        if time.monotonic() >= self._looked_at + RECENT:
            self._looked_at = time.monotonic()
            self._faults = self._services.faults(snapshot)
        return self._faults
