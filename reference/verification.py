"""What one check of the reference data found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verification:
    """One check of the reference data; nothing of the sort it looks at is passed over in silence."""

    name: str
    """What was checked."""
    way: str
    """How: what the values were held against, and how closely."""
    checked: int
    """Number of comparisons."""
    failures: tuple[str, ...] = ()
    """One sentence for each comparison that failed."""
    not_checked: int = 0
    """Number of values of the same sort that were held against nothing."""
    why: str = ""
    """The reason why they were not."""
    explained: tuple[str, ...] = ()
    """One sentence for each disagreement for which the data give the reason: no failure."""
