#!/usr/bin/env python3
"""Makes a Markdown table of the figures of several rounds.

usage: benches/tables.py TABLE FIGURES

FIGURES has a line for each run: NAME=VALUE for round, server, connections and whatever the load measured; the rest of the line is
passed over. TABLE is one of those below: which columns, and to whom the servers are compared.

A ratio is the median of the ratios of two runs in the same round, with the 95 % interval of that median (order statistics; of fewer
than 6 rounds it is all there are). The server that others are compared to is chosen by its median: of several loops or peers, the best.
"""

import collections
import math
import statistics
import sys

URING = ("uring", "uring-multishot")
EPOLL = ("epoll",)
# What benches/variants compares the others to.
BASES = ("uring-variants:base", "uring-variants:whole", "cport:io_uring:basic")


def peers(server):
    """Those of others: neither ours nor the loops by hand, which are limits."""
    return not server.startswith(("cport", "ours")) and server not in URING + EPOLL


class Column:
    """A median of a figure, or a ratio of it to the best of those that `best_of` names."""

    def __init__(self, title, figure, digits=0, scale=1.0, best_of=None, most=False):
        self.title, self.figure, self.digits, self.scale = title, figure, digits, scale
        self.best_of, self.best = best_of, max if most else min

    def text(self, runs, server):
        value = lambda name, at: runs[name][at][self.figure] * self.scale
        median = lambda name: statistics.median(value(name, at) for at in runs[name])
        if self.best_of is None:
            return f"{median(server):.{self.digits}f}"
        others = [name for name in runs if self.best_of(name)]
        reference = self.best(others, key=median) if others else server
        ratios = sorted(
            value(server, at) / value(reference, at)
            for at in runs[server]
            if at in runs.get(reference, {}) and value(reference, at) > 0
        )
        if reference == server or not ratios:
            return ""
        low, high = interval(ratios)
        return f"{statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})"


def interval(values):
    """The narrowest order statistics that hold the median with 95 %, or all there are."""
    n, below = len(values), 0
    for k in range(n // 2):
        tail = 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n
        if tail > 0.05:
            break
        below = k
    return values[below], values[n - 1 - below]


CPU = Column("CPU us per message", "server_cpu_us", 2)
P50 = Column("p50 us", "p50_us")
P99 = Column("p99 us", "p99_us")


def rate(title, scale=1.0):
    return [
        Column(title, "per_second", scale=scale),
        Column(f"{title} / best peer's", "per_second", best_of=peers, most=True),
    ]


TABLES = {
    "variants": [
        Column("CPU us per round trip", "server_cpu_us", 2),
        Column("CPU / without", "server_cpu_us", best_of=BASES.__contains__),
        Column("round trips/s", "per_second"),
    ],
    "pinned": [
        Column("CPU us per round trip", "server_cpu_us", 2),
        Column("CPU / better io_uring loop", "server_cpu_us", best_of=URING.__contains__),
        Column("CPU / epoll loop", "server_cpu_us", best_of=EPOLL.__contains__),
        Column("CPU / best peer's", "server_cpu_us", best_of=peers),
        Column("round trips/s", "per_second"),
        P99,
    ],
    "shared": rate("round trips/s") + [P50, P99, Column("p99 / best peer's", "p99_us", best_of=peers), CPU],
    "large": rate("MB/s", 65536 / 1e6) + [P99, CPU],
    "pipeline": rate("messages/s") + [P99, CPU],
    "churn": rate("connections/s") + [P99, CPU],
}


def read(file):
    """By connections and server, in the order of their first run: the figures of each round."""
    cases = collections.OrderedDict()
    for line in open(file):
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        servers = cases.setdefault(fields.pop("connections"), collections.OrderedDict())
        server, at = fields.pop("server"), int(fields.pop("round"))
        servers.setdefault(server, {})[at] = {name: float(value) for name, value in fields.items()}
    return cases


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in TABLES:
        sys.exit(f"usage: benches/tables.py {'|'.join(TABLES)} FIGURES")
    columns = TABLES[sys.argv[1]]
    print("| connections | server |", " | ".join(column.title for column in columns), "|")
    print("| ---: | --- |", " | ".join("---:" for _ in columns), "|")
    for connections, runs in read(sys.argv[2]).items():
        for server in runs:
            print(f"| {connections} | {server} |", " | ".join(column.text(runs, server) for column in columns), "|")


if __name__ == "__main__":
    main()
