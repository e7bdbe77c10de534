"""Damage to files: bytes that change, values that are other ones, lines that are lost, doubled or elsewhere."""

import json
import random
from typing import Any

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 0.0, -0.5, 1e-300, 1e300, 10**400, 10**30, 2**63, "", "x", "$\\bad$ $", "</svg>", "\u202e",
    [], {}, [[]], [0], [-1.0, 2.0], ["x"], {"x": 1}, 3, 7,
)  # fmt: skip


def bytes_changed(text: bytes, dice: random.Random) -> bytes:
    """Bits flipped, pieces lost, put in or doubled, or the end missing."""
    content = bytearray(text)
    for _ in range(dice.randrange(1, 3)):
        at = dice.randrange(len(content))
        kind = dice.randrange(5)
        if kind == 0:
            content[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del content[at : at + dice.randrange(1, 60)]
        elif kind == 2:
            content[at:at] = dice.choice([b"null", b"{}", b"[", b"\n", b"\xff", b"1e999", b'"', b"9" * 400, b"-"])
        elif kind == 3:
            content[at:at] = content[at : at + dice.randrange(1, 300)]
        else:
            del content[at:]
            content += b"\n"
    return bytes(content)


def value_changed(value: Any, dice: random.Random) -> Any:
    """Another value somewhere inside, or a key lost or put in: still JSON."""
    inside = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    if not inside or dice.random() < 0.1:
        return dice.choice(JUNK)
    at = dice.choice(inside)
    action = dice.random()
    if action < 0.1:
        del value[at]
    elif action < 0.15 and isinstance(value, dict):
        value[dice.choice(["x", "value", "kind", "not_run"])] = dice.choice(JUNK)
    else:
        value[at] = value_changed(value[at], dice)
    return value


def lines_changed(lines: list[str], dice: random.Random) -> bytes:
    """One line changed in its values, or a line lost, doubled or elsewhere."""
    lines = list(lines)
    at = dice.randrange(len(lines))
    if (action := dice.random()) < 0.1:
        del lines[at]
    elif action < 0.2:
        lines.insert(at, lines[dice.randrange(len(lines))])
    else:
        changed = value_changed(json.loads(lines[at]), dice)
        lines[at] = json.dumps(changed, default=str)
    return "".join(line + "\n" for line in lines).encode()
