"""The pages of ``qmcbench guide``: Markdown beside this module, every block of which a test executes."""

from __future__ import annotations

from importlib.resources import files

from qmcbench.errors import UserError

PAGES = {
    "train": "a run of its own: configuration, sampling, solvers, transfer learning, what was reached",
    "gates": "is my wave function, my sampler, my code right? targets, samples, claims, a pytest plugin",
    "scaling": "how fast it is, and how it scales: timings, peers, ranks, the model of larger machines",
    "cluster": "many ranks and many nodes: libraries, Slurm, memory, what happens when one fails",
    "reference": "exact and published energies with their sources, trained networks, and how they are made again",
    "report": "records of everything measured, and reports of them",
    "design": "how the package is built, its conventions, and where to add a record, a check, a chapter",
}
"""Name and subject of each page, in the order in which they are read."""


def read(name: str) -> str:
    """The Markdown text of a page.

    Raises
    ------
    UserError
        If there is no such page.
    """
    if name not in PAGES:
        raise UserError(f"There is no page {name!r}; the pages are {', '.join(PAGES)}.")
    return files("qmcbench.guide").joinpath(f"{name}.md").read_text(encoding="utf-8")
