"""Shares of work on PyTorch's threads: each is done once, at the same time, and what goes wrong is heard."""

import threading
from collections.abc import Iterator

import pytest
import torch

from qmcbench.ansatz.fast import threads
from qmcbench.ansatz.fast.threads import in_shares


@pytest.fixture(params=["PyTorch's", "own"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """On PyTorch's threads, and on those that stand in where its OpenMP library cannot be told."""
    if request.param == "own":
        monkeypatch.setattr(threads, "_parallel", lambda: None)
    return str(request.param)


@pytest.fixture
def three() -> Iterator[None]:
    """Three threads of PyTorch."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_pytorchs_threads_are_found(kind: str) -> None:
    """Beside the OpenMP libraries that other packages bring."""
    assert (threads._parallel() is None) == (kind == "own")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_every_share_is_done_once(count: int) -> None:
    """Without gaps or overlaps, for more and for less work than threads."""
    done: list[tuple[int, int]] = []
    in_shares(count, lambda first, last: done.append((first, last)))
    places = sorted(place for first, last in done for place in range(first, last))
    assert places == list(range(count))
    assert len(done) == max(1, min(count, 3))


@pytest.mark.usefixtures("three")
def test_shares_run_at_the_same_time() -> None:
    """Each waits for the two others, which works on three threads only."""
    meeting = threading.Barrier(3, timeout=20)
    seen: set[int] = set()

    def work(first: int, last: int) -> None:
        meeting.wait()
        seen.add(threading.get_ident())

    in_shares(6, work)
    assert len(seen) == 3


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("error", [IndexError("list"), KeyboardInterrupt()], ids=["mistake", "Ctrl-C"])
def test_an_exception_is_raised_after_the_others_are_done(error: BaseException) -> None:
    """Whatever thread it comes from; and the next work is done as if nothing had been."""
    done: list[int] = []

    def work(first: int, last: int) -> None:
        if first == 2:
            raise error
        done.append(first)

    with pytest.raises(type(error)):
        in_shares(6, work)
    assert sorted(done) == [0, 4]
    in_shares(6, lambda first, last: done.append(last))
    assert sorted(done) == [0, 2, 4, 4, 6]
