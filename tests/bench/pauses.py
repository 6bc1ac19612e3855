"""How long Redis lets an honest connection wait, a process of its own: it sends ``PING`` every few milliseconds.

``python -m tests.bench.pauses SOCKET`` prints a line of JSON, of the time since the last one, for each character of
input; ends with its input.
"""

from __future__ import annotations

import argparse
import json
import selectors
import sys
import time

from tests.bench.report import percentile
from tests.bench.wire import Line, resp

#: Seconds between two.
APART = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    line, took = Line(parser.parse_args().socket), []
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            began = time.perf_counter()
            line.send(resp("PING"))
            line.receive()
            took.append(1000 * (time.perf_counter() - began))
            if selector.select(APART):
                if not sys.stdin.buffer.raw.read(1):  # type: ignore[attr-defined]
                    raise SystemExit
                facts = {"pings": len(took), "p50": percentile(took, 0.5), "p99": percentile(took, 0.99),
                         "max": max(took)}  # fmt: skip
                print(json.dumps(facts), flush=True)
                took = []


if __name__ == "__main__":
    main()
