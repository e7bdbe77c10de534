"""Named tensors and short texts in one safetensors file, sealed by a digest over every byte of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import safetensors.torch
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.structure import parse_json

# The digest stands in the file's own header; it is that of the file with zeros in its place. Quotes within a text are
# escaped in a header, so that this mark is found nowhere else.
MARK = b'"digest":"'
DIGITS = 64


def pack(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
    """The content of a file that holds ``tensors`` and ``texts``, with its SHA-256 digest.

    Parameters
    ----------
    tensors
        By name; from any device.
    texts
        By name; without one called ``digest``.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content: bytes = safetensors.torch.save(plain, {**texts, "digest": "0" * DIGITS})
    seal = hashlib.sha256(content).hexdigest().encode()
    return content.replace(MARK + b"0" * DIGITS, MARK + seal, 1)


def read_whole(path: Path, what: str) -> bytes:
    """The bytes of a regular file that fits in memory.

    Raises
    ------
    UserError
        If it is none, cannot be read, or does not fit.
    """
    try:
        size, free = path.stat().st_size, psutil.virtual_memory().available
        if not path.is_file():
            raise UserError(f"{path} is no file, so it holds no {what}.")
        if 2 * size > free:
            raise UserError(
                f"The {what} {path} has {size / 2**30:.3g} GiB, of which two copies do not fit in the "
                f"{free / 2**30:.3g} GiB of free memory."
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        cause = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"Cannot read the {what} {path}: {cause}.") from error


def texts_of(content: bytes, source: str, hint: str) -> dict[str, str]:
    """The texts in the header of ``content``, before anything else of it is believed; ``hint`` says what to do.

    Raises
    ------
    UserError
        If there is no such header.
    """
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= len(content) - 8:
        raise UserError(
            f"{source} is damaged or no file of tensors: its header does not fit into its length; {hint}."
        )
    header = content[8 : 8 + length].decode(errors="replace")
    data: Any = parse_json(header, f"{source} is damaged or no file of tensors: its header", hint)
    texts = data.get("__metadata__") if isinstance(data, dict) else None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise UserError(f"{source} is no file of ours: its header holds no texts; {hint}.")
    return texts


def unpack(content: bytes, source: str, hint: str, *, sealed: bool = True) -> dict[str, Tensor]:
    """The tensors in ``content``, by name.

    Parameters
    ----------
    content
        What :func:`pack` gave.
    source
        The file, for the message.
    hint
        What to do about a damaged one, for the message.
    sealed
        Whether it must have a digest, which is then verified.

    Raises
    ------
    UserError
        If a byte has changed since, or it holds no tensors.
    """
    if sealed:
        start = content.find(MARK) + len(MARK)
        stored = content[start : start + DIGITS]
        blank = content[:start] + b"0" * DIGITS + content[start + DIGITS :]
        if start < len(MARK) or hashlib.sha256(blank).hexdigest().encode() != stored:
            raise UserError(
                f"{source} is damaged: its bytes do not give the digest (SHA-256) that it states; {hint}."
            )
    try:
        return dict(safetensors.torch.load(content))
    except Exception as error:  # a damaged file may raise almost anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{source} is damaged or no file of tensors ({reason}); {hint}.") from error
