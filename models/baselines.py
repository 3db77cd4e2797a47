"""The baselines by name, and what each of them is given: as much a model's arguments as those of a network.

How they forecast stands in `models/serving.py`, which travels with a version: a baseline is served as networks are.
"""

from typing import NamedTuple

import numpy as np

NAIVES = ("last_value", "drift", "seasonal_naive")
FITTED_ROWS = {"theta": (500, 10), "auto_ets": (240, 3)}  # rows of history that a fit gets, or seasons, whichever is more
LONGEST_SEASON = {
    "theta": 1000,
    "auto_ets": 168,
}  # that a fit takes: beyond it costs a hundred times as much, and learns little
BASELINES = (*NAIVES, "naive2", *FITTED_ROWS)


class Arguments(NamedTuple):
    """What a baseline is given: the rows of a season, and the rows of history that a fit gets (None: all that there is)."""

    season: int
    rows: int | None = None

    def to_dict(self) -> dict[str, int]:
        """The same as a job and a version keep it."""
        return {"season": self.season} | ({} if self.rows is None else {"rows": self.rows})


def arguments_of(name: str, season: int) -> Arguments:
    """The arguments of a baseline at a season.  Raises ValueError for a name that is none."""
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}; there are: {', '.join(BASELINES)}")
    rows, seasons = FITTED_ROWS.get(name, (0, 0))
    return Arguments(season, max(rows, seasons * season) or None)


def hashed_bytes(split: str, forecasts: np.ndarray) -> bytes:
    """What a hash of the forecasts on a split is taken over: their shape and the bits of every number, any NaN as another."""
    bits = np.where(np.isnan(forecasts), np.nan, forecasts).astype("<f8")
    return f"{split}|{forecasts.shape}|".encode() + bits.tobytes()
