"""The one exception that the reference layer raises for a user's mistake."""


class ReferenceLayerError(Exception):
    """A request that the reference layer cannot serve: one sentence with the value, the bound and the next step."""
