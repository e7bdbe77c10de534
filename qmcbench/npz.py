"""Plain arrays in ``.npz`` files of anybody's: nothing in one is run, and none takes more memory than it may."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qmcbench.errors import UserError
from qmcbench.pickles import one_line

# The methods of numpy.savez; zipfile inflates the others in one piece, whatever that takes.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MOST_DIMENSIONS = 8

Parts = tuple[tuple[int, ...], str, bool, object]
"""Shape, dtype as numpy writes it, whether the first index runs fastest, and the bytes."""


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a file may hold."""

    what: str
    """The file, in a word."""
    size: int
    """Bytes, and bytes of what a compressed one unpacks to."""
    dtypes: tuple[str, ...]
    expected: str
    """The dtypes in words."""
    too_large: str
    """What a file beyond that size is told."""

    def refusal(self, source: Path) -> UserError:
        """That the file is too large."""
        return UserError(f"{source} holds more than {self.size // 2**20} MiB, but {self.too_large}")


def content(source: Path, allowed: Allowed) -> bytes:
    """The bytes of a file.

    Raises
    ------
    UserError
        If it cannot be read or is too large.
    """
    try:
        with source.open("rb") as file:
            read = file.read(allowed.size + 1)
    except OSError as error:
        raise UserError(f"Cannot read the {allowed.what} {source}: {error.strerror}.") from error
    if len(read) > allowed.size:
        raise allowed.refusal(source)
    return read


def array(source: Path, name: str, parts: Parts, allowed: Allowed) -> NDArray[Any]:
    """The array of that shape and dtype in the bytes.

    Raises
    ------
    UserError
        If its dtype is not allowed, or the bytes do not fill the shape.
    """
    shape, dtype, fortran, data = parts
    if dtype not in allowed.dtypes:
        raise UserError(
            f"{source}: the array {name[:60]} has the dtype {dtype[:20]!r}, but {allowed.expected} is expected."
        )
    kind = np.dtype(dtype)
    # No array here has more dimensions or longer ones; numpy itself fails on such shapes, even empty ones.
    possible = len(shape) <= MOST_DIMENSIONS and all(0 <= n <= allowed.size for n in shape)
    if not possible or not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
        raise UserError(f"{source}: the array {name[:60]} is damaged: its data do not fill the shape it states.")
    flat = np.frombuffer(data, kind) if data else np.empty(0, kind)
    return flat.reshape(shape, order="F" if fortran else "C")


def arrays(source: Path, packed: bytes, allowed: Allowed) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` by name.

    Raises
    ------
    UserError
        If it is damaged, too large, or holds anything but plain arrays of the allowed dtypes.
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            left = allowed.size
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
                        raise allowed.refusal(source)
                    name = member.filename.removesuffix(".npy")
                    found[name] = array(source, name, (shape, dtype.str, fortran, data), allowed)
    except UserError:
        raise
    except Exception as error:  # a broken archive may raise almost anything
        raise UserError(f"{source} is damaged or no .npz of plain arrays ({one_line(error)}).") from error
    return found
