"""Hostile and damaged weight files: nothing in them runs, little is inflated, and each is refused in a sentence."""

import contextlib
import copyreg
import io
import operator
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.weights import arrays, write
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import alone, refused

from qmcbench import pickles, weights
from qmcbench.errors import UserError
from qmcbench.weights import import_weights


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.made = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.made


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that would make ``marker`` (or worse), and a word of why they are refused."""
    touch = f"touch '{marker}'"
    python = f"open({str(marker)!r}, 'w').close()"
    array = np.zeros(3)
    system = Call(os.system, touch)
    stack = text("os") + text("system") + b"\x93" + text(touch) + b"\x85R."
    return {
        **{f"os.system, protocol {n}": (pickle.dumps(system, protocol=n), "system") for n in range(6)},
        "eval": (pickle.dumps(Call(eval, python), protocol=2), "eval"),
        "exec": (pickle.dumps(Call(exec, python), protocol=4), "exec"),
        "nested": (pickle.dumps([array, [array, (system,)]], protocol=3), "system"),
        "in the state of an array": (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01cos\nsystem\n"
            + text(touch)
            + b"\x85Rtb.",
            "os.system",
        ),
        "STACK_GLOBAL": (b"\x80\x04" + stack, "os.system"),
        "INST": (f"(S{touch!r}\nios\nsystem\n.".encode(), "INST"),
        "OBJ": (b"(cos\nsystem\n" + text(touch) + b"o.", "OBJ"),
        "NEWOBJ": (b"\x80\x02cnumpy\ndtype\n)\x81.", "NEWOBJ"),
        "persistent id": (b"Pos.system\n.", "PERSID"),
        "persistent id, binary": (text("os.system") + b"Q.", "BINPERSID"),
        "copyreg": (pickle.dumps(Call(copyreg._reconstructor, dict, object, None), protocol=2), "copy_reg"),
        "operator": (pickle.dumps(Call(operator.methodcaller, "system", touch), protocol=2), "operator"),
        "dotted name": (b"\x80\x04" + text("numpy") + text("dtype.__class__") + b"\x93.", "dtype.__class__"),
        "module of an admitted name": (b"cnumpy.core.multiarray\nfromfile\n.", "fromfile"),
        "newline in a name": (b"\x80\x04" + text("os\nx") + text("system") + b"\x93.", "os"),
        "torch": (b"\x80\x02ctorch.storage\n_load_from_bytes\n" + text("x") + b"\x85R.", "_load_from_bytes"),
        "torch tensor": (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.", "_rebuild_tensor_v2"),
        "attributes of a function": (b"cnumpy\ndtype\n}" + text("x") + b"K\x01sb.", "EMPTY_DICT"),
        "state of a function": (b"cnumpy.core.multiarray\n_reconstruct\n(tb.", "changes a function"),
        "state of a class": (b"cnumpy\nndarray\n(K\x01tb.", "changes a function"),
        "call of a class": (b"cnumpy\nndarray\n(K\x01tR.", "no function"),
        "another codec": (b"c_codecs\nencode\n" + text("x") + text("zip") + b"\x86R.", "latin1"),
        "object array": (pickle.dumps([np.array([None, system], dtype=object)], protocol=2), "os"),
        "harmless object array": (pickle.dumps([np.array([None, 1], dtype=object)], protocol=2), "'|O8'"),
        "structured array": (pickle.dumps([np.zeros(2, dtype=[("a", "f8")])], protocol=2), "EMPTY_DICT"),
        "dictionary": (pickle.dumps({"a": array}, protocol=2), "EMPTY_DICT"),
        "promised length": (b"\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "readable"),
        "far memo entry": (b"Nr" + struct.pack("<I", 2**31 - 1) + b".", "larger"),
        "huge shape": (
            b"](cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
            b"cnumpy\ndtype\n" + text("f8") + b"\x85R(K\x03" + text("<") + b"tb\x89C\x01xtbe.",
            "do not fill",
        ),
        "deep nesting": (b"]" * 50_000 + b"a" * 49_999 + b".", "larger"),
        "no list": (pickle.dumps(3), "no list"),
        "truncated": (pickle.dumps([array], protocol=2)[:-9], "readable"),
        "empty": (b"", "readable"),
        "noise": (bytes(range(256)), "readable"),
    }


@pytest.mark.parametrize("name", [*attacks(Path("x"))])
def test_hostile_pickles_are_refused_and_nothing_runs(name: str, tmp_path: Path) -> None:
    """One sentence with the reason, no marker file, no checkpoint."""
    marker = tmp_path / "marker"
    content, word = attacks(marker)[name]
    with pytest.raises(UserError) as error:
        import_weights(write(tmp_path / "chk", content), tmp_path / "out.safetensors")
    assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chk"]


def test_extension_registry_is_no_way_around(tmp_path: Path) -> None:
    """os.system in the cache of copyreg's registry, where the unpickler does not even ask for the class by name."""
    content = b"\x80\x02\x82\xf0" + text(f"touch '{tmp_path / 'marker'}'") + b"\x85R."
    copyreg.add_extension(os.system.__module__, "system", 240)
    try:
        pickle.loads(content)
        (tmp_path / "marker").unlink()
        with pytest.raises(UserError, match="EXT1"):
            import_weights(write(tmp_path / "chk", content), tmp_path / "out.safetensors")
    finally:
        copyreg.remove_extension(os.system.__module__, "system", 240)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chk"]


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """The plain unpickler does run them: without this the test above would show nothing."""
    for name in ("os.system, protocol 2", "eval", "nested", "STACK_GLOBAL", "INST", "in the state of an array"):
        marker = tmp_path / "marker"
        with contextlib.suppress(TypeError, ValueError):  # after the harm
            pickle.loads(attacks(marker)[name][0])
        assert marker.exists(), name
        marker.unlink()


def test_hostile_pickle_through_the_command_line(tmp_path: Path) -> None:
    """Exit status 2 and one sentence, from a process of its own that runs nothing."""
    marker = tmp_path / "marker"
    source = write(tmp_path / "chk", attacks(marker)["nested"][0])
    refused(alone("import-weights", source, "--out", tmp_path / "out.safetensors"), "chk", "system", "nothing")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chk"]


def test_admitted_names_cannot_be_changed() -> None:
    """What BUILD may reach has no attributes to set."""
    for made in (pickles.ADMITTED[name]() for name in pickles.ADMITTED):
        with pytest.raises(AttributeError):
            made.anything = 1  # type: ignore[attr-defined]


def zipped(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


def npy(array: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.lib.format.write_array(memory, array, allow_pickle=True)
    return memory.getvalue()


def bomb(method: int, declared: int) -> bytes:
    """An array of 64 MiB of zeros in some kilobytes, whose directory declares ``declared`` bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as archive:
        archive.writestr("a.npy", npy(np.zeros(2**23)))
    return memory.getvalue().replace(struct.pack("<I", 2**26 + 128), struct.pack("<I", declared))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("declared", [15 * 2**20, 2**26 + 128])
def test_decompression_bombs(method: int, declared: int, tmp_path: Path) -> None:
    """Whatever method and size the directory states, less than 40 MiB are ever inflated."""
    content = bomb(method, declared)
    assert len(content) < 2**20
    source = write(tmp_path / "w.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"16 MiB|neither stored nor deflated|do not fill|damaged"):
            import_weights(source, tmp_path / "out.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def pickled(*shape: int, data: bytes = b"") -> bytes:
    """A list of one array of float64 with this shape."""
    numbers = b"(" + b"".join(pickle.dumps(n, protocol=2)[2:-1] for n in shape) + b"t"
    head = b"\x80\x02](cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01" + numbers
    return (
        head
        + b"cnumpy\ndtype\n"
        + text("f8")
        + b"\x85R(K\x03"
        + text("<")
        + b"tb\x89U"
        + bytes([len(data)])
        + data
        + b"tbe."
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(pickled(0, 2**70), id="empty-and-endless"),
        pytest.param(pickled(*[1] * 70, data=bytes(8)), id="70-dimensions"),
        pytest.param(pickled(-1, -1, data=bytes(8)), id="negative"),
        pytest.param(pickled(2**31, 0, 2**31), id="product-beyond-an-index"),
        pytest.param(pickled(0), id="empty"),
        pytest.param(pickled(2**600, 0), id="600-bits"),
    ],
)
def test_pickles_of_absurd_shapes(content: bytes, tmp_path: Path) -> None:
    """Shapes that numpy cannot have, or no network has: one sentence each."""
    with pytest.raises(UserError) as error:
        import_weights(write(tmp_path / "chk", content), tmp_path / "out.safetensors")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


WHOLE = {"pickle": pickle.dumps(list(arrays().values()), protocol=2), "npz": b""}
with io.BytesIO() as _memory:
    np.savez(_memory, **arrays())
    WHOLE["npz"] = _memory.getvalue()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    form=st.sampled_from(["pickle", "npz"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.none() | st.floats(0, 1),
    edge=st.booleans(),
)
def test_no_damaged_file_is_a_traceback(
    form: str, changes: list[tuple[float, int]], cut: float | None, edge: bool
) -> None:
    """300 files with changed bytes (half of them near an end, where the structure stands) or cut: read or refused."""
    content = bytearray(WHOLE[form])
    for where, value in changes:
        span = 400 if edge else len(content) - 1
        content[int(where * span) - (200 if edge else 0)] = value
    if cut is not None:
        del content[int(cut * len(content)) :]
    with contextlib.suppress(UserError):
        weights.recognise(Path("x"), weights.read_arrays(Path("x"), bytes(content)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x80\x02](", b"PK\x03\x04"]))
def test_no_noise_is_a_traceback(noise: bytes, start: bytes) -> None:
    """200 arbitrary files: all refused."""
    with pytest.raises(UserError):
        weights.recognise(Path("x"), weights.read_arrays(Path("x"), start + noise))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (zipped({"a.npy": bytes(20 * 2**20)}), "no .npz of plain arrays"),
        (zipped({"a.npy": npy(np.zeros(2)).replace(b"(2,), }    ", b"(9999,), } ")}), "do not fill"),
        (zipped({"a.npy": npy(np.array([None]))}), "'|O'"),
        (zipped({"a.npy": b"nonsense"}), "no .npz of plain arrays"),
        (zipped({"a.npy": npy(np.zeros(2)).replace(b"'fortran_order'", b"((((((((((((((")}), "no .npz of plain"),
        (zipped({"archive/data.pkl": pickle.dumps(1)}), "no .npz of plain arrays"),
        (zipped({"a.npy": npy(np.zeros(2))})[:-20], "no .npz of plain arrays"),
        (bytes(17 * 2**20), "16 MiB"),
    ],
    ids=["no header", "short data", "objects", "nonsense", "bad header", "pickle", "cut", "too long"],
)
def test_odd_archives(content: bytes, word: str, tmp_path: Path) -> None:
    """Compression bombs, headers that lie, objects, other archives and damaged ones: one sentence each."""
    with pytest.raises(UserError) as error:
        import_weights(write(tmp_path / "w.npz", content), tmp_path / "out.safetensors")
    assert word in str(error.value)
    assert "\n" not in str(error.value)
