"""Import of trained networks: faithful to the authors' layout, and nothing in a pickle is ever run."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain
import pytest
import torch
from helpers.weights import Arrays, arrays, npz, python2, write

from qmcbench import checkpoint, weights
from qmcbench.ansatz import CNN
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.reference import model_spec
from qmcbench.training import CHECKPOINT, load_ansatz, starting_ansatz, train
from qmcbench.weights import import_weights


@pytest.mark.parametrize("form", ["npz", 0, 1, 2, 3, 4, "python2", "fortran", "big-endian", "float32"])
def test_imported_network_is_the_authors_function(form: str | int, tmp_path: Path) -> None:
    """psi(S) = Marshall sign * sum over rotations of the product of the outputs, whatever form the arrays come in."""
    content, source = arrays(), tmp_path / "weights"
    match form:
        case "npz":
            npz(tmp_path / "w.npz", content).rename(source)
        case "python2":
            source.write_bytes(python2(content))
        case "fortran":
            source.write_bytes(pickle.dumps([np.asfortranarray(a) for a in content.values()], protocol=3))
        case "big-endian":
            source.write_bytes(pickle.dumps([a.astype(">f8") for a in content.values()], protocol=3))
        case "float32":
            content = {name: a.astype(np.float32) for name, a in content.items()}
            source.write_bytes(pickle.dumps(list(content.values()), protocol=3))
        case int():
            source.write_bytes(pickle.dumps(tuple(content.values()), protocol=form))
    import_weights(source, tmp_path / "out.safetensors", dtype="float64")
    psi, config = load_ansatz(tmp_path / "out.safetensors")
    assert (config.model.L, config.model.J2, config.wavefunction.network) == (12, 0.5, "small")
    spins = plain.random_spins(6, 30)
    parameters = {name: torch.tensor(a, dtype=torch.float64) for name, a in content.items()}
    terms = [plain.log_psi(model_spec("small"), parameters, spins.rot90(r, (1, 2))) for r in range(4)]
    total = sum(sign * log_psi.exp() for log_psi, sign in terms)
    up = [sum(s > 0 for i in range(6) for s in row[i][i % 2 :: 2]) for row in spins.tolist()]
    with torch.no_grad():
        log_psi, sign = psi(spins)
    torch.testing.assert_close(log_psi, total.abs().log(), rtol=0, atol=1e-9)
    assert sign.tolist() == (total.sign() * torch.tensor([(-1.0) ** n for n in up])).tolist()
    assert {-1.0, 1.0} <= set(total.sign().tolist()), "without both signs the test shows less"


@pytest.mark.parametrize("model", ["small", "medium", "large"])
def test_network_is_recognised_by_its_shapes(model: str, tmp_path: Path) -> None:
    """Each of the paper's networks is told by its shapes, its provenance kept; strangers are not called theirs."""
    made = import_weights(npz(tmp_path / "w.npz", arrays(model)), tmp_path / "out.safetensors", L=8, J2=0.4)
    assert made.config.wavefunction.network == model
    assert (made.config.model.L, made.config.model.J2) == (8, 0.4)
    stored = checkpoint.read(tmp_path / "out.safetensors")
    assert stored.imported is not None
    assert (stored.imported.file, stored.imported.licence) == ("w.npz", None)
    assert {p.dtype for p in stored.parameters.values()} == {torch.float32}


def test_authors_network_is_recognised_by_its_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either format; then licence, citation and published energy are stored with it."""
    content = arrays()
    known = {**weights.authors_network(), "values_sha256": weights.values_digest(content)}
    monkeypatch.setattr(weights, "authors_network", lambda: known)
    sources = (
        npz(tmp_path / "w.npz", content),
        write(tmp_path / "chk", pickle.dumps(list(content.values()), protocol=3)),
    )
    for number, source in enumerate(sources):
        origin = import_weights(source, tmp_path / f"{number}.safetensors").imported
        assert origin.published_energy == -0.49665963574854954
        assert "MIT" in origin.licence
        assert "015035" in origin.citation
    content["block6.deconv.bias"] = content["block6.deconv.bias"] + 1e-15
    other = import_weights(npz(tmp_path / "w2.npz", content), tmp_path / "2.safetensors")
    assert other.imported.licence is None


def test_training_starts_from_an_imported_network_but_does_not_continue_it(tmp_path: Path) -> None:
    """Transfer learning takes its parameters; as a run of its own it is refused in one sentence."""
    content, path = arrays(), tmp_path / CHECKPOINT
    import_weights(npz(tmp_path / "w.npz", content), path)
    run = {
        "model": {"L": 4, "J2": 0.5},
        "sampling": {"chains": 8, "warm_up": 1},
        "optimizer": {"steps": 1, "starts": 1},
    }
    psi = starting_ansatz(parse({**run, "wavefunction": {"start": str(path)}}))
    for parameter, array in zip(psi.parameters(), content.values(), strict=True):
        torch.testing.assert_close(parameter.detach(), torch.tensor(array, dtype=torch.float32), rtol=0, atol=0)
    before = path.read_bytes()
    with pytest.raises(UserError, match="an imported network and not a run"):
        train(parse({**run, "run": {"threads": 1}}), tmp_path, quiet=True)
    assert path.read_bytes() == before


def changed(**changes: Any) -> Callable[[], Arrays]:
    """The arrays with some replaced, or left out where None."""
    return lambda: {name: a for name, a in {**arrays(), **changes}.items() if a is not None}


BIAS = "block3.conv.bias"


CASES = [
    (changed(**{BIAS: np.zeros(7)}), (BIAS, "(7,)", "(6,)", "small")),
    (changed(**{BIAS: np.zeros(6, dtype=np.int64)}), (BIAS, "'<i8'", "float64")),
    (changed(**{BIAS: np.zeros(6, dtype=np.complex128)}), (BIAS, "'<c16'", "float64")),
    (changed(**{BIAS: np.full(6, np.nan)}), (BIAS, "6 of 6", "not finite")),
    (changed(**{BIAS: np.full(6, 1e300)}), (BIAS, "6 of 6", "not finite in float32")),
    (dict, ("block1.conv.weight", "0 arrays")),
]
# The arrays of a list have no names of their own.
NAMED = [
    (changed(**{BIAS: None}), (BIAS, "(6,)", "23 arrays", "small")),
    (changed(spare=np.zeros(2)), ("'spare'", "(2,)", "24 arrays")),
]


@pytest.mark.parametrize(
    ("form", "make", "words"),
    [("npz", *case) for case in [*CASES, *NAMED]] + [("pickle", *case) for case in CASES],
)
def test_wrong_arrays_are_named(
    form: str, make: Callable[[], Arrays], words: tuple[str, ...], tmp_path: Path
) -> None:
    """Missing, misshapen, of another type or not finite: the sentence names the array, what is found and expected."""
    if form == "npz":
        source = npz(tmp_path / "w.npz", make())
    else:
        source = write(tmp_path / "chk", pickle.dumps(list(make().values()), protocol=2))
    with pytest.raises(UserError) as error:
        import_weights(source, tmp_path / "out.safetensors")
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_lists_of_another_length(tmp_path: Path) -> None:
    """Too short a list lacks the last array; too long a one has an array by number."""
    content = list(arrays().values())
    for length, word in ((23, "block6.deconv.bias"), (25, "'number 25'")):
        source = write(tmp_path / str(length), pickle.dumps([*content, np.zeros(3)][:length], protocol=2))
        with pytest.raises(UserError, match=word):
            import_weights(source, tmp_path / "out.safetensors")


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    """It may be a checkpoint that took days."""
    out = write(tmp_path / "out.safetensors", b"days")
    with pytest.raises(UserError, match="exists already"):
        import_weights(npz(tmp_path / "w.npz", arrays()), out)
    assert out.read_bytes() == b"days"


def test_size_of_the_network_does_not_change_with_the_limits() -> None:
    """The paper's largest network fits the limits with room to spare, in the longest pickle there is."""
    content = pickle.dumps([p.detach().double().numpy() for p in CNN("large").parameters()], protocol=1)
    assert 5 * len(content) < weights.ALLOWED.size
    assert weights.recognise(Path("x"), weights.read_arrays(Path("x"), content)) == "large"
