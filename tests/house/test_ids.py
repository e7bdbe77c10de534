"""Parametrised tests have readable names."""

import re

import pytest


def unreadable(item: pytest.Item) -> bool:
    """Whether pytest could not print a parameter, and called it ``kwargs0`` or ``<lambda>``."""
    call = getattr(item, "callspec", None)
    if call is None:
        return False
    return any(
        re.fullmatch(r"<lambda>\d*", part)
        or any(re.fullmatch(rf"{re.escape(name)}\d+", part) for name in call.params)
        for part in call.id.split("-")
    )


def test_ids_say_what_is_tested(request: pytest.FixtureRequest) -> None:
    """A failure's name must say what failed: of every test that was collected together with this one."""
    bad = sorted({item.nodeid for item in request.session.items if unreadable(item)})
    assert not bad, "\n".join(bad)
