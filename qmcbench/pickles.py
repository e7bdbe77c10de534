"""Lists of numpy arrays out of pickles from strangers.

A pickle is a program, so nothing in it is believed: the opcodes must be those that arrays need, and the few names it
may ask for stand for inert recorders of their arguments, never for numpy's own functions.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from itertools import islice
from pathlib import Path
from typing import Any

from qmcbench.errors import UserError

# A list of 24 arrays has under a thousand opcodes, so that no pickle can be long or deep.
MAX_OPCODES = 10_000
# No NEWOBJ, INST, OBJ or EXT*, which build objects; no persistent ids; no dictionaries or sets, whose hashing of
# nested tuples takes exponential time.
ADMITTED_OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK DUP GLOBAL STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE
    INT LONG LONG1 BININT BININT1 BININT2 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
    TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
"""
OPCODES = frozenset(ADMITTED_OPCODES.split())


class _RefusedError(Exception):
    """A pickle asks for something that arrays do not need."""


class _Inert:
    """What an admitted name stands for: REDUCE may call it, BUILD finds nothing to change."""

    __slots__ = ()

    def __call__(self, *_: object) -> object:
        raise _RefusedError("it calls something that is no function")

    def __setstate__(self, _: object) -> None:
        raise _RefusedError("it changes a function")


class _Dtype(_Inert):
    """A numpy.dtype as it was pickled: its name, and then its byte order by BUILD."""

    __slots__ = ("name", "order")

    def __init__(self, name: object) -> None:
        self.name, self.order = _text(name), "="

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])


class PickledArray(_Inert):
    """A numpy.ndarray as it was pickled: what BUILD gives it is kept and judged later."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def parts(self) -> tuple[tuple[int, ...], str, bool, object]:
        """Shape, dtype in numpy's notation, whether columns come first, and the data (bytes if nothing is amiss)."""
        match self.state:
            case (_, tuple() as shape, _Dtype() as dtype, bool() | int() as fortran, data) if all(
                type(n) is int for n in shape
            ):
                return shape, dtype.order + dtype.name, bool(fortran), data
        return (), "<f8", False, None


class _MakeDtype(_Inert):
    __slots__ = ()

    def __call__(self, *arguments: object) -> _Dtype:
        return _Dtype(arguments[0])


class _MakeArray(_Inert):
    __slots__ = ()

    def __call__(self, *_: object) -> PickledArray:
        return (
            PickledArray()
        )  # the class and the shape that are asked for here do not matter: BUILD brings the true ones


class _Encode(_Inert):
    __slots__ = ()

    def __call__(self, *arguments: object) -> bytes:
        match arguments:
            case (str(text), "latin1"):  # how Python 3 writes bytes in the protocols 0 to 2
                return text.encode("latin1")
        raise _RefusedError("it encodes a text otherwise than as latin1")


ADMITTED: dict[tuple[str, str], type[_Inert]] = {
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray,
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray,
    ("numpy", "ndarray"): _Inert,
    ("numpy", "dtype"): _MakeDtype,
    ("_codecs", "encode"): _Encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Inert:
        if (module, name) not in ADMITTED:
            raise _RefusedError(f"it asks for {f'{module}.{name}'[:80]!r}")
        return ADMITTED[module, name]()


def unpickle(source: Path, content: bytes) -> list[PickledArray]:
    """The arrays in the pickled list ``content`` of the file ``source``, without running anything in it.

    Raises
    ------
    UserError
        If it holds or asks for anything else.
    """
    try:
        # Before the unpickler sees it: known opcodes only, nothing truncated, no room asked for far-off memo entries.
        opcodes = list(islice(pickletools.genops(content), MAX_OPCODES + 1))
        for number, (opcode, argument, _) in enumerate(opcodes):
            if opcode.name not in OPCODES:
                raise _RefusedError(f"it has the opcode {opcode.name}")
            far = "PUT" in opcode.name and argument is not None and not 0 <= argument <= number
            if far or number >= MAX_OPCODES:
                raise _RefusedError("it is larger than a list of arrays")
        # Python 2 text as bytes: it may be an array's data.
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except _RefusedError as error:
        raise UserError(
            f"{source} is refused and nothing in it was run: {error}, but the pickle of a network holds a list of "
            "plain numpy arrays and nothing else; if you trust it, convert it to .npz yourself."
        ) from error
    except Exception as error:  # a broken pickle may raise almost anything
        raise UserError(
            f"{source} is neither an .npz nor a readable pickle of plain arrays ({one_line(error)})."
        ) from error
    if not isinstance(found, list | tuple) or not all(isinstance(item, PickledArray) for item in found):
        raise UserError(f"{source} holds no list of numpy arrays, which is what the pickle of a network is.")
    return list(found)


def _text(value: object) -> str:
    """Text from either Python version; anything else becomes a name that no dtype has."""
    return value.decode("latin1") if isinstance(value, bytes) else value if isinstance(value, str) else "unknown"


def one_line(error: Exception) -> str:
    """A foreign error message, fit for a sentence."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]
