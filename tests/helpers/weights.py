"""Files that hold a network's arrays, as the authors' programs write them."""

import struct
from pathlib import Path

import numpy as np
import plain

Arrays = dict[str, np.ndarray]


def arrays(model: str = "small", seed: int = 3) -> Arrays:
    """Arrays of a network that is not trivial, under the names of the .npz."""
    return {name: p.detach().numpy() for name, p in plain.lively(model, seed=seed).named_parameters()}


def npz(path: Path, content: Arrays) -> Path:
    np.savez_compressed(path, **content)
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def python2(content: Arrays) -> bytes:
    """The list as Python 2 pickled it: arrays' data and dtype names as byte strings."""

    def one(array: np.ndarray) -> bytes:
        shape = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in array.shape) + b"t"
        dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        data = array.astype("<f8").tobytes()
        head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        return head + shape + dtype + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"

    return b"\x80\x02](" + b"".join(map(one, content.values())) + b"e."
