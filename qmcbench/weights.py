"""Import of trained networks (``qmcbench import-weights``): the authors' pickle, or the same arrays as ``.npz``.

The authors store a list of numpy arrays in the order of the network's parameters (block by block conv.weight,
conv.bias, deconv.weight, deconv.bias; ``J1J2/model_chk`` in github liangstein/Verify-CNN-based-wave-functions-energy,
loaded by its ``fire.py``).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench import checkpoint, npz, provenance
from qmcbench.ansatz.cnn import CNN
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.files import make_parents, write_atomically
from qmcbench.npz import Allowed
from qmcbench.pickles import unpickle
from qmcbench.reference import model_names
from qmcbench.reference.schemas import document
from qmcbench.store.energies import Origin

Arrays = dict[str, NDArray[np.float64]]

ALLOWED = Allowed(
    what="weights",
    size=16 * 2**20,
    dtypes=("<f4", ">f4", "<f8", ">f8"),
    expected="float32 or float64",
    too_large="the paper's largest network has 1; is it another file?",
)


def import_weights(
    source: Path,
    out: Path,
    *,
    L: int | None = None,
    J2: float | None = None,
    dtype: str = "float32",
    command: str = "qmcbench.weights.import_weights",
) -> Checkpoint:
    """Write the network in ``source`` as the checkpoint ``out``, which evaluation and transfer learning take.

    Parameters
    ----------
    source
        A pickled list of arrays, or an ``.npz`` with ``blockN.conv.weight`` (out, in, k, k), ``blockN.conv.bias``,
        ``blockN.deconv.weight`` (in, out, 2) and ``blockN.deconv.bias``, N from 1; float32 or float64.
    out
        File to write; one that exists is not replaced.
    L, J2
        What the network was trained for; absent, those of the authors' network.
    dtype
        ``"float32"`` or ``"float64"``: of the stored parameters and of the forward pass.
    command
        For the provenance.

    Returns
    -------
    Checkpoint
        As it was written.

    Raises
    ------
    UserError
        If the file cannot be read, holds anything but the arrays of one of the paper's networks, or ``out`` cannot be
        written.
    """
    known = authors_network()
    if checkpoint.exists(out):
        raise UserError(f"{out} exists already; give another --out, or remove it first.")
    content = npz.content(source, ALLOWED)
    arrays = read_arrays(source, content)
    wavefunction = {"network": recognise(source, arrays), "symmetry": known["symmetry"], "dtype": dtype}
    model = {"L": known["L"] if L is None else L, "J2": known["J2"] if J2 is None else J2}
    config = parse({"model": model, "wavefunction": wavefunction}, source="import-weights")
    parameters = {name: _tensor(source, name, array, dtype) for name, array in arrays.items()}
    origin = Origin(file=source.name, sha256=hashlib.sha256(content).hexdigest())
    # Known by its values, in either format.
    if values_digest(arrays) == known["values_sha256"]:
        names = ("source", "licence", "citation", "L", "J2", "published_energy")
        origin = replace(origin, **{name: known[name] for name in names})
    network = Checkpoint(parameters, config, provenance.collect(command), imported=origin)
    make_parents(out)
    write_atomically(out, checkpoint.content_of(network), replace=False)
    return network


def authors_network() -> dict[str, Any]:
    """What is known of the network that the paper's authors published: the reference layer's ``[checkpoint]``."""
    known: dict[str, Any] = document("models")["checkpoint"]
    return known


def values_digest(arrays: Arrays) -> str:
    """SHA-256 of all values as little-endian float64, in the order of the network's parameters."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def read_arrays(source: Path, content: bytes) -> Arrays:
    """The named arrays in the bytes of an ``.npz`` or of a pickled list; the names of a list are those of its order.

    Raises
    ------
    UserError
        If they hold anything else; nothing in a pickle is ever run.
    """
    if content.startswith(b"PK"):
        return {name: array.astype(np.float64) for name, array in npz.arrays(source, content, ALLOWED).items()}
    found = unpickle(source, content)
    names = [*_layouts()[0][1]]
    names += [f"number {number}" for number in range(len(names) + 1, len(found) + 1)]
    return {
        name: npz.array(source, name, each.parts(), ALLOWED).astype(np.float64)
        for name, each in zip(names, found, strict=False)
    }


def recognise(source: Path, arrays: Arrays) -> str:
    """Which of the paper's networks has exactly these arrays; puts them in its order.

    Raises
    ------
    UserError
        If none has, naming the first array that differs from the most similar network.
    """
    layouts = _layouts()
    shapes = {name: array.shape for name, array in arrays.items()}
    model, layout = max(layouts, key=lambda pair: len(pair[1].items() & shapes.items()))
    for name, shape in layout.items():
        if name not in shapes:
            raise UserError(
                f"{source} lacks the array {name} (shape {shape} in the network {model!r}, the most similar one); "
                f"it holds {len(shapes)} arrays, and a network of the paper has {len(layout)}."
            )
        if shapes[name] != shape:
            raise UserError(
                f"{source}: the array {name} has the shape {shapes[name]}, but {shape} is expected in the network "
                f"{model!r}, the most similar one of {', '.join(name for name, _ in layouts)}."
            )
    if extra := next((name for name in arrays if name not in layout), None):
        raise UserError(
            f"{source} holds the array {extra[:60]!r} of the shape {shapes[extra]}, which no network of the "
            f"paper has; the network {model!r} has {len(layout)} arrays."
        )
    for name in layout:
        arrays[name] = arrays.pop(name)
    return model


def _layouts() -> list[tuple[str, dict[str, tuple[int, ...]]]]:
    """Shapes of the parameters of each of the paper's networks, by name and in order."""
    return [(m, {name: tuple(p.shape) for name, p in CNN(m).named_parameters()}) for m in model_names()]


def _tensor(source: Path, name: str, array: NDArray[np.float64], dtype: str) -> Tensor:
    tensor = torch.tensor(array, dtype=getattr(torch, dtype))
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise UserError(
            f"{source}: {bad} of {tensor.numel()} values of the array {name} are not finite in {dtype}; "
            "the file is damaged or its training had failed."
        )
    return tensor
