"""Watches the ranks of one node from outside and says which of them died first.

Started by :mod:`qmcbench.ranks.faults` as a process of its own, because a launcher that finds a rank dead kills all
others before they could speak. Arguments: how its sentence ends, then ``rank:pid`` of each rank of the node. A line
on standard output says that it watches them all. SIGTERM ends it silently.
"""

from __future__ import annotations

import os
import select
import sys


def main(arguments: list[str]) -> None:
    """Wait for the first rank to die."""
    poll = select.poll()
    ranks = {}
    consequences, *processes = arguments
    for argument in processes:
        rank, pid = argument.split(":")
        ranks[os.pidfd_open(int(pid))] = rank
    for descriptor in ranks:
        poll.register(descriptor, select.POLLIN)
    print("watching", flush=True)
    dead = [ranks[descriptor] for descriptor, _ in poll.poll()]
    print(
        f"error: rank {' and '.join(dead)} died without a word (killed, out of memory or crashed), "
        f"so the job ends{consequences}.",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
