"""What one check of the reference data found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verification:
    """One check of the reference data; nothing of the sort it looks at is passed over in silence.

    Attributes
    ----------
    name
        What was checked.
    way
        How: what the values were held against, and how closely.
    checked
        Number of comparisons.
    failures
        One sentence for each comparison that failed.
    not_checked
        Number of values of the same sort that were held against nothing.
    why
        The reason why they were not.
    explained
        One sentence for each disagreement for which the data give the reason: no failure.
    """

    name: str
    way: str
    checked: int
    failures: tuple[str, ...] = ()
    not_checked: int = 0
    why: str = ""
    explained: tuple[str, ...] = ()
