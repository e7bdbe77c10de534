"""Watches the ranks of one node from outside: which of them died first, and which has fallen silent.

Started by :mod:`qmcbench.ranks.faults` as a process of its own, because a launcher that finds a rank dead kills all
others before they could speak. Arguments: how its sentence ends, the seconds of silence it allows (0: any), then
``rank:pid`` of each rank of the node. A line on standard output says that it watches them all. SIGTERM ends it
silently.

A rank's heartbeat is its processor time: a rank computes, or it polls for the others. One that has used none for so
long is stopped (SIGSTOP) or stuck, and the others would wait for it for ever; it is killed, which ends the job. Ranks
that are all stopped, as by Ctrl-Z, and those that wait for a disk are left alone.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

# Seconds between looks at the heartbeats.
INTERVAL = 1.0


class Heartbeat:
    """The processor time of a rank, and since when it has not grown."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ticks, self.state, self.since = -1, "", time.monotonic()

    def look(self) -> None:
        """Read it again."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:  # it has just died, which the caller sees otherwise
            return
        # After the name, which may hold anything: the state, and user and system time.
        fields = stat.rpartition(")")[2].split()
        ticks, self.state = int(fields[11]) + int(fields[12]), fields[0]
        if ticks != self.ticks or self.state == "D":
            self.ticks, self.since = ticks, time.monotonic()

    def forgive(self) -> None:
        """Count its silence from now on."""
        self.since = time.monotonic()


def silent(hearts: dict[str, Heartbeat], limit: float) -> list[str]:
    """Which ranks have been silent for longer than ``limit`` seconds."""
    for heart in hearts.values():
        heart.look()
    if all(heart.state == "T" for heart in hearts.values()):
        for heart in hearts.values():
            heart.forgive()
    now = time.monotonic()
    return [rank for rank, heart in hearts.items() if now - heart.since > limit]


def main(arguments: list[str]) -> None:
    """Wait for the first rank to die or fall silent."""
    consequences, limit, *processes = arguments
    poll = select.poll()
    ranks, hearts = {}, {}
    for argument in processes:
        rank, pid = argument.split(":")
        descriptor = os.pidfd_open(int(pid))
        ranks[descriptor], hearts[rank] = rank, Heartbeat(int(pid))
        poll.register(descriptor, select.POLLIN)
    print("watching", flush=True)
    allowed = float(limit)
    while not (dead := [ranks[descriptor] for descriptor, _ in poll.poll(INTERVAL * 1000)]):
        if allowed and (stuck := silent(hearts, allowed)):
            states = {"T": "stopped"}
            how = ", ".join(sorted({states.get(hearts[rank].state, "stuck") for rank in stuck}))
            _say(f"rank {' and '.join(stuck)} has been silent for {limit} s ({how})", consequences)
            for rank in stuck:
                with suppress(ProcessLookupError):
                    os.kill(hearts[rank].pid, signal.SIGKILL)
            return
    _say(f"rank {' and '.join(dead)} died without a word (killed, out of memory or crashed)", consequences)


def _say(what: str, consequences: str) -> None:
    print(f"error: {what}, so the job ends{consequences}.", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
