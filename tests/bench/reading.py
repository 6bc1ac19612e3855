"""The reader, a process of its own: ``python -m tests.bench.reading PORT TOKEN SECONDS PER_SECOND PATH…``.

Asks for the paths in turn, as often as said, on one connection each, and prints JSON: milliseconds and bytes by path.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from tests.bench.report import median
from tests.bench.wire import Line, http


def main(arguments: Sequence[str]) -> dict[str, tuple[float, float, int]]:
    port, token, seconds, rate, *paths = arguments
    lines = {path: Line(int(port)) for path in paths}
    took: dict[str, list[float]] = {path: [] for path in paths}
    sizes = dict.fromkeys(paths, 0)
    began = time.perf_counter()
    number = 0
    while (due := began + number / float(rate)) < began + float(seconds):
        time.sleep(max(0.0, due - time.perf_counter()))
        path = paths[number % len(paths)]
        asked = time.perf_counter()
        lines[path].send(http("GET", path, token).replace(b"text/plain", b"*/*"))
        answer = lines[path].receive()
        assert answer.split(b" ", 2)[1] == b"200", (path, answer[:300])
        took[path].append(1000 * (time.perf_counter() - asked))
        sizes[path] = len(answer)
        number += 1
    return {path: (median(took[path]), max(took[path], default=0), sizes[path]) for path in paths}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
