"""The projection of the paper's times, made once for the tests of its chapter."""

from dataclasses import replace

import pytest
from helpers.stores import ORIGIN

from qmcbench.scaling import job
from qmcbench.scaling.projection import Projection
from qmcbench.store import jsonl
from qmcbench.store.records import Run


@pytest.fixture(scope="session")
def projected(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The real one, of the paper's machine, as its file has it."""
    out = tmp_path_factory.mktemp("projection")
    job.run(job.ProjectRequest(processes=(100000,)), out)
    found = jsonl.load(out, job.FILE)
    assert found is not None
    return replace(found, provenance=ORIGIN)


@pytest.fixture(scope="session")
def projection(projected: Run) -> Projection:
    """The same, sorted."""
    return Projection.of(projected)
