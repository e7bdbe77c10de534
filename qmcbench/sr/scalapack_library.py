"""Finding and loading ScaLAPACK: PyPI's ``mkl`` (extra ``mpi``), another oneMKL, or the system's.

It has to call the very MPI library that mpi4py has loaded, and its BLAS has to stay on one thread: there is one rank
per core.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

from qmcbench.errors import UserError

# In the order of loading: each needs the symbols of those before it. (The single library mkl_rt does not do here.)
ONEMKL = ("core", "sequential", "intel_lp64", "blacs_{mpi}_lp64", "scalapack_lp64")
SYSTEM = ("scalapack-mpich", "scalapack-openmpi", "scalapack-mpi", "scalapack")

INSTALL = 'install it with pip install "qmcbench[mpi]"'


@dataclass(frozen=True)
class Library:
    """ScaLAPACK, loaded."""

    handle: Any
    """PyScalapack's handle: an attribute for each Fortran routine of ScaLAPACK and of the BLACS."""
    name: str
    """What it is, such as "Intel oneMKL 2026.2 (PyPI)"."""
    files: tuple[str, ...]
    """Base names of the loaded files."""


@cache
def load() -> Library:
    """Load ScaLAPACK, and with mpi4py initialise MPI.

    Raises
    ------
    UserError
        If mpi4py, PyScalapack or a ScaLAPACK for mpi4py's MPI library is missing.
    """
    try:
        import PyScalapack
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(f"The ScaLAPACK solver needs mpi4py and PyScalapack ({error}); {INSTALL}.") from error
    # ScaLAPACK's MPI symbols are to be found in the library of mpi4py, which is loaded but private to it.
    mpi = ctypes.CDLL(MPI.__file__, mode=os.RTLD_NOLOAD | os.RTLD_LAZY | os.RTLD_GLOBAL)
    version = " ".join(MPI.Get_library_version().splitlines()[0].split())
    failures: list[str] = []
    found = _onemkl("openmpi" if version.startswith("Open MPI") else "intelmpi", failures) or _system(mpi, failures)
    if found is None:
        raise UserError(
            f"No ScaLAPACK for {version} was found: neither oneMKL's (PyPI's mkl, "
            f"{Path(sys.prefix, 'lib')}, $MKLROOT) nor the system's (lib{', lib'.join(SYSTEM)})"
            f"{''.join(f'; {failure}' for failure in failures)}; {INSTALL}."
        )
    name, libraries = found
    files = tuple(os.path.basename(library._name) for library in libraries)
    return Library(PyScalapack(*libraries, loader=lambda library: library), name, files)


def _onemkl(mpi: str, failures: list[str]) -> tuple[str, list[ctypes.CDLL]] | None:
    for source, directory in _directories():
        files = [sorted(directory.glob(f"libmkl_{part.format(mpi=mpi)}.so*")) for part in ONEMKL]
        if not all(files):
            continue
        try:
            libraries = [ctypes.CDLL(str(found[-1]), mode=os.RTLD_LAZY | os.RTLD_GLOBAL) for found in files]
        except OSError as error:
            failures.append(str(error))
            continue
        text = ctypes.create_string_buffer(200)
        libraries[2].MKL_Get_Version_String(text, len(text))
        version = re.search(rb"Version ([\d.]+)", text.value)
        return f"Intel oneMKL {version[1].decode() if version else ''} ({source})", libraries
    return None


def _directories() -> Iterator[tuple[str, Path]]:
    """Where oneMKL may be: a description, and the directory."""
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith("libmkl_core.so"):
            yield "PyPI", Path(str(file.locate())).resolve().parent
    yield "environment", Path(sys.prefix, "lib")
    if root := os.environ.get("MKLROOT"):
        yield "MKLROOT", Path(root, "lib")
        yield "MKLROOT", Path(root, "lib", "intel64")


def _system(mpi: ctypes.CDLL, failures: list[str]) -> tuple[str, list[ctypes.CDLL]] | None:
    before = {library.filepath for library in ThreadpoolController().lib_controllers}
    for name in SYSTEM:
        # By the linker's cache, else wherever the dynamic loader looks.
        file = find_library(name) or f"lib{name}.so"
        try:
            library = ctypes.CDLL(file, mode=os.RTLD_LAZY)
        except OSError:
            continue
        if _address(library) not in (None, _address(mpi)):
            failures.append(f"{file} belongs to another MPI library")
            continue
        for blas in ThreadpoolController().lib_controllers:
            if blas.filepath not in before:
                blas.set_num_threads(1)
        return f"system {file}", [library]
    return None


def _address(library: ctypes.CDLL) -> int | None:
    """Where a library, or one that it was linked with, has MPI; None if nowhere."""
    function = getattr(library, "MPI_Comm_rank", None)
    return ctypes.cast(function, ctypes.c_void_p).value if function else None
