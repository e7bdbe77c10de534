"""The paper's network layouts: each has the published number of parameters."""

import pytest

import qmcbench.reference
from qmcbench.reference import ReferenceLayerError, model_names, model_spec


@pytest.mark.parametrize(("name", "published"), [("small", 3531), ("medium", 16249), ("large", 106529)])
def test_layout_has_the_published_count(name: str, published: int) -> None:
    """Weights and biases of both convolutions of all blocks, counted by formula, add up to the paper's number."""
    spec = model_spec(name)
    count, channels = 0, 1
    for block in spec.blocks:
        count += channels * block.conv * block.kernel**2 + block.conv
        count += block.conv * block.deconv * 2 + block.deconv
        channels = block.deconv
    assert count == spec.parameters == published
    assert channels == 1
    assert [block.kernel for block in spec.blocks] == [5, 5, 3, 3, 3, 3]


def test_only_small_is_inferred() -> None:
    """The layouts read from the authors' code are told apart from the one that was inferred."""
    assert model_names() == ("small", "medium", "large")
    assert [model_spec(name).inferred for name in model_names()] == [True, False, False]


def test_unknown_model_names_the_choices() -> None:
    """A wrong name is answered by the right ones."""
    with pytest.raises(ReferenceLayerError, match="no model 'huge': choose one of small, medium, large"):
        model_spec("huge")


def test_public_surface_is_sorted_and_importable() -> None:
    """Every advertised name resolves, although modules load only when asked for; any other is an AttributeError."""
    names = qmcbench.reference.__all__
    assert names == sorted(names)
    assert all(getattr(qmcbench.reference, name) is not None for name in names)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        qmcbench.reference.nothing  # noqa: B018
