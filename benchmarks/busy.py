"""Seconds of a short training run with the default threads and with one, alone and beside busy processes.

``python benchmarks/busy.py``, on a machine that is free. Threads that wait for each other burn a time slice of a busy
core each time; by default they sleep soon instead (``qmcbench.cores``), so that beside busy processes the default
must not be slower than one thread. The times are those of whole processes, loading included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qmcbench.cores import DECIDED, NUMBA
from qmcbench.report.document import Cell, Table

CONFIG = "[model]\nL = {L}\nJ2 = 0.5\n[optimizer]\nsteps = {steps}\nstarts = 1\n[run]\nseed = 1\n"
ONE = "threads = 1\n"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes beside, each of which keeps a core busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(text: str, folder: Path) -> float:
    """Of one run, from the start of its process to the end."""
    (folder / "run.toml").write_text(text)
    # What this process was told of threads is not for the run.
    kept = {name: value for name, value in os.environ.items() if name not in (*DECIDED, NUMBA, "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "qmcbench", "train", folder / "run.toml", "--out", folder / "out"]
    began = time.perf_counter()
    subprocess.run([*command, "--restart", "--quiet"], env=kept, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Take turns, so that what else happens on the machine meets all alike, and print medians and extremes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(".")[0])
    parser.add_argument("--L", type=int, default=4)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--busy", type=int, default=2, help="processes beside")
    asked = parser.parse_args()
    text = CONFIG.format(L=asked.L, steps=asked.steps)
    configurations = {"default threads": text, "one thread": text + ONE}
    rows: list[list[str | Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (0, asked.busy):
            times: dict[str, list[float]] = {name: [] for name in configurations}
            with busy(count):
                for turn in range(asked.repeats):
                    # Each is as often the first as the other.
                    for name in sorted(configurations, reverse=bool(turn % 2)):
                        times[name].append(seconds(configurations[name], Path(folder)))
            for name, each in times.items():
                where = f"beside {count} busy processes" if count else "alone"
                rows.append([where, name, f"{statistics.median(each):.2f}", f"{min(each):.2f} to {max(each):.2f}"])
    title = f"{asked.steps} steps of {asked.L}x{asked.L}, seconds of {asked.repeats} runs in turn"
    print(Table(title, ["", "threads", ">median", "range"], rows).text())


if __name__ == "__main__":
    main()
