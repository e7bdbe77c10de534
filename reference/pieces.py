"""Pieces of a long computation in files: written whole or not at all, checked by their checksums, never trusted."""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qmcbench.reference.errors import ReferenceLayerError

Arrays = tuple[npt.NDArray[Any], ...]


def cache_folder(name: str) -> Path:
    """Where this user's machine keeps what took long to compute: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "qmcbench" / name


class Pieces:
    """Finished pieces, each a list of arrays in one file, and the seconds that they took.

    Parameters
    ----------
    folder
        Where they are kept; None keeps nothing.

    Raises
    ------
    ReferenceLayerError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seconds = 0.0
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ReferenceLayerError(f"cannot make {folder} ({error.strerror}): name another folder") from error

    def get(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of this piece, from its file if there is one."""
        if kept := self.load(name):
            *found, seconds = kept
            self.seconds += float(seconds)
            return tuple(found)
        began = time.perf_counter()
        computed = compute()
        seconds = time.perf_counter() - began
        self.seconds += seconds
        self.save(name, (*computed, np.float64(seconds)))
        return computed

    def has(self, name: str) -> bool:
        """Whether a piece of this name was saved."""
        path = self._path(name)
        return path is not None and path.exists()

    def load(self, name: str) -> Arrays | None:
        """What was saved by this name; None if nothing was.

        Raises
        ------
        ReferenceLayerError
            If the file cannot be read or is damaged.
        """
        path = self._path(name)
        if path is None or not self.has(name):
            return None
        try:
            # Stored, not compressed: a damaged size cannot make more of the file than it is.
            with zipfile.ZipFile(path) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("compressed by another program")
            with np.load(path, allow_pickle=False) as file:
                found = tuple(file[key] for key in file.files)
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
        ) as error:
            reason = str(error) or "it is empty"
            raise ReferenceLayerError(f"{path} cannot be read ({reason}): delete it, to compute it again") from error
        if not found:
            raise ReferenceLayerError(f"{path} holds nothing: delete it, to compute it again")
        return found

    def save(self, name: str, arrays: Arrays) -> None:
        """Keep these arrays by this name, in place of what had it."""
        path = self._path(name)
        if path is None:
            return
        temporary = None
        try:
            # A name of its own: two processes may be at the same piece.
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{name}.", delete=False) as stream:
                temporary = Path(stream.name)
                np.savez(stream, *arrays)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ReferenceLayerError(
                f"cannot write {path} ({error.strerror}): make room or name another folder, and run it again"
            ) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Forget the piece of this name, if there is one."""
        if path := self._path(name):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path | None:
        return self.folder / f"{name}.npz" if self.folder else None
