"""Import of trained networks (``qmcbench import-weights``): the authors' pickle, or the same arrays as ``.npz``.

The authors store a list of numpy arrays in the order of the network's parameters (block by block conv.weight,
conv.bias, deconv.weight, deconv.bias; ``J1J2/model_chk`` in github liangstein/Verify-CNN-based-wave-functions-energy,
loaded by its ``fire.py``).
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench import checkpoint, provenance
from qmcbench.ansatz.cnn import CNN
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.files import make_parents, write_atomically
from qmcbench.pickles import one_line, unpickle
from qmcbench.reference import model_names
from qmcbench.reference.schemas import document
from qmcbench.store.energies import Origin

Arrays = dict[str, NDArray[np.float64]]

# Bytes of a file, and of what a compressed one unpacks to; the paper's largest network has 0.9 MB.
LIMIT = 16 * 2**20
# The methods of numpy.savez; zipfile inflates the others in one piece, whatever that takes.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MOST_DIMENSIONS = 8
DTYPES = ("<f4", ">f4", "<f8", ">f8")


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
    content = _read(source)
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
        return _read_npz(source, content)
    found = unpickle(source, content)
    names = [*_layouts()[0][1]]
    names += [f"number {number}" for number in range(len(names) + 1, len(found) + 1)]
    return {name: _values(source, name, *array.parts()) for name, array in zip(names, found, strict=False)}


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


def _read(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise UserError(f"Cannot read the weights {source}: {error.strerror}.") from error
    if len(content) > LIMIT:
        raise UserError(_too_large(source))
    return content


def _too_large(source: Path) -> str:
    return (
        f"{source} holds more than {LIMIT // 2**20} MiB, but the paper's largest network has 1; is it another file?"
    )


def _tensor(source: Path, name: str, array: NDArray[np.float64], dtype: str) -> Tensor:
    tensor = torch.tensor(array, dtype=getattr(torch, dtype))
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise UserError(
            f"{source}: {bad} of {tensor.numel()} values of the array {name} are not finite in {dtype}; "
            "the file is damaged or its training had failed."
        )
    return tensor


def _values(
    source: Path, name: str, shape: tuple[int, ...], dtype: str, fortran: bool, data: object
) -> NDArray[np.float64]:
    """The array of that shape in the bytes ``data``, in float64."""
    if dtype not in DTYPES:
        raise UserError(
            f"{source}: the array {name[:60]} has the dtype {dtype[:20]!r}, but float32 or float64 is expected."
        )
    kind = np.dtype(dtype)
    # No network has an array of more dimensions or longer ones; numpy itself fails on such shapes, even empty ones.
    possible = len(shape) <= MOST_DIMENSIONS and all(0 <= n <= LIMIT for n in shape)
    if not possible or not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
        raise UserError(f"{source}: the array {name[:60]} is damaged: its data do not fill the shape it states.")
    array = np.frombuffer(data, kind) if data else np.empty(0, kind)
    return array.reshape(shape, order="F" if fortran else "C").astype(np.float64)


def _read_npz(source: Path, content: bytes) -> Arrays:
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            left = LIMIT
            for member in archive.infolist():
                if member.compress_type not in METHODS:
                    raise ValueError("a member is neither stored nor deflated")
                with archive.open(member) as stream:
                    # Not numpy.load: it makes room for the shape that a header states before it looks for the data.
                    if np.lib.format.read_magic(stream) != (1, 0):
                        raise ValueError("an array has another format version than 1.0")
                    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
                    # Inflated to so many bytes and no further, whatever the directory says.
                    data = stream.read(left + 1)
                    left -= len(data)
                    if left < 0:
                        raise UserError(_too_large(source))
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _values(source, name, shape, dtype.str, fortran, data)
    except UserError:
        raise
    except Exception as error:  # a broken archive may raise almost anything
        raise UserError(f"{source} is damaged or no .npz of plain arrays ({one_line(error)}).") from error
    return arrays
