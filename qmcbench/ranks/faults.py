"""How a job of several ranks ends: all together, and with one message that names rank and cause.

MPI knows no exceptions: ranks that wait for one that has failed wait for ever. A rank that fails alone therefore ends
the job; a rank that dies, or is silent for longer than :data:`SILENCE`, is named by a witness
(:mod:`qmcbench.ranks.witness`), one process a node, before the launcher ends the others. While a rank still loads,
:mod:`qmcbench.ranks.early` watches it.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from qmcbench.errors import UserError
from qmcbench.ranks import early, witness
from qmcbench.ranks.comm import Communicator, Mpi

# Seconds that a failed rank waits for the others to fail too before it takes itself to be the only one.
PATIENCE = 2.0
# Seconds that the launcher is given to pass a message on before it is told to end the job.
LAST_WORDS = 0.5
# Seconds without any processor time after which a rank ends the job; another number can be set in this variable, 0
# for none.
SILENCE = 60.0
SILENCE_VARIABLE = "QMCBENCH_SILENCE"


class Job:
    """The ranks of a job between its start and :meth:`end`; of a single process, too.

    Parameters
    ----------
    comm
        The ranks.
    consequences
        How the sentence about a rank that died ends.
    """

    def __init__(self, comm: Communicator, consequences: str = "") -> None:
        self.comm = comm
        self._witness = None
        if isinstance(comm, Mpi) and hasattr(os, "pidfd_open"):
            self._witness = _start_witness(comm, consequences, silence())
        early.dismiss()

    def end(self, status: int, message: str | None) -> None:
        """Leave the process with ``status``, after saying ``message`` once for all ranks that end alike.

        A rank that fails while others go on says so and ends them all.
        """
        if isinstance(self.comm, Mpi):
            # One Ctrl-C may reach the ranks one after another: what comes while this one leaves has been heard.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            message = self._agree(self.comm, status, message)
        if message is not None:
            print(message, file=sys.stderr, flush=True)
        sys.exit(status)

    def _agree(self, comm: Mpi, status: int, message: str | None) -> str | None:
        """The message that is this rank's to say, once all have ended."""
        everyone = comm.mpi.Ibarrier()
        waited_since = time.monotonic()
        while not everyone.Test():
            if status and time.monotonic() - waited_since > PATIENCE:
                cause = (message or f"exit status {status}").removeprefix("error: ")
                print(f"error: rank {comm.rank} of {comm.size}: {cause}", file=sys.stderr, flush=True)
                self._dismiss()
                time.sleep(LAST_WORDS)
                comm.mpi.Abort(status)
                # Seen to return on a busy machine.
                os._exit(status)
            time.sleep(0.001)
        messages = comm.mpi.allgather(message)
        self._dismiss()
        # Ranks that end alike say the same; whoever is the first to say something says it.
        return message if messages.index(message) == comm.rank else None

    def _dismiss(self) -> None:
        if self._witness is not None:
            with suppress(ProcessLookupError):
                os.kill(self._witness, signal.SIGTERM)


def silence(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds that a rank may be silent.

    Raises
    ------
    UserError
        If ``QMCBENCH_SILENCE`` is no such number.
    """
    text = environment.get(SILENCE_VARIABLE, str(SILENCE))
    with suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise UserError(f"{SILENCE_VARIABLE} = {text[:40]!r} is not a number of seconds, at least 0 (0: no limit).")


def _start_witness(comm: Mpi, consequences: str, limit: float) -> int:
    """Start the node's witness and return its process number; no rank goes on before the witness watches it."""
    ranks = comm.node.allgather(f"{comm.rank}:{os.getpid()}")
    started = None
    if comm.node.rank == 0:
        # In a session of its own: the launcher must not end it together with the ranks.
        command = [sys.executable, "-IS", str(Path(witness.__file__)), consequences, f"{limit:g}", *ranks]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        # Until it watches, the other ranks are kept from going on to what may kill them.
        if process.stdout is not None:
            with process.stdout as answer:
                answer.readline()
        started = process.pid
    pid: int = comm.node.bcast(started)
    return pid
