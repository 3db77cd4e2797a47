"""The baselines by name and their arguments, as a network family has its own.

They are implemented in `models/serving.py`, which travels with a version: a baseline is served like a
network.
"""

from typing import NamedTuple

import numpy as np

NAIVES = ("last_value", "drift", "seasonal_naive")
FITTED_ROWS = {"theta": (500, 10), "auto_ets": (240, 3)}  # rows or seasons of history for a fit, whichever is more
LONGEST_SEASON = {
    "theta": 1000,
    "auto_ets": 168,
}  # the longest season fitted: beyond, a fit costs a hundred times as much and learns little
BASELINES = (*NAIVES, "naive2", *FITTED_ROWS)
OUTSIDE = "baseline:"  # begins the family of a baseline from outside this repository, before its module:function


def is_outside(family: str) -> bool:
    """Whether a family is a baseline from outside this repository."""
    return isinstance(family, str) and family.startswith(OUTSIDE)


class Arguments(NamedTuple):
    """A baseline's arguments: the rows of a season, and the rows of history for a fit (None: all)."""

    season: int
    rows: int | None = None

    def to_dict(self) -> dict[str, int]:
        """The dict stored in a job and a version."""
        return {"season": self.season} | ({} if self.rows is None else {"rows": self.rows})


def arguments_of(name: str, season: int) -> Arguments:
    """A baseline's arguments for a season.  Raises ValueError for an unknown name."""
    if name not in BASELINES and not is_outside(name):
        raise ValueError(f"unknown baseline {name!r}; there are: {', '.join(BASELINES)}")
    rows, seasons = FITTED_ROWS.get(name, (0, 0))
    return Arguments(season, max(rows, seasons * season) or None)


def hashed_bytes(split: str, forecasts: np.ndarray) -> bytes:
    """The bytes to hash for the forecasts of a split: shape and bits, with every NaN made equal."""
    bits = np.where(np.isnan(forecasts), np.nan, forecasts).astype("<f8")
    return f"{split}|{forecasts.shape}|".encode() + bits.tobytes()
