"""``qmcbench doctor``: what of this installation works."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from qmcbench.cli.common import Json, print_json

EPILOG = "Example: `qmcbench doctor`"


def command(as_json: Json = False) -> None:
    """What of this installation works: libraries, processor, GPU, MPI and ScaLAPACK on 2 ranks.

    Exit status 1 if something that is needed, or installed, does not work.
    """
    from qmcbench.jobs import doctor

    findings: list[dict[str, Any]] = []
    for finding in doctor.examine():
        findings.append(asdict(finding))
        if not as_json:
            print(doctor.line(finding), flush=True)
    if as_json:
        print_json(findings)
    if any(finding["status"] == doctor.FAILED for finding in findings):
        raise typer.Exit(1)
