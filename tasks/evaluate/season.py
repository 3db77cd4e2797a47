"""The seasonal naive: a value is what it was one season before, or, where that is missing, two, three ... seasons before.

One rule, for the baseline as for what MASE and RMSSE divide by.  Where no season before has a value, it is missing.
"""

import numpy as np


def seasonal(y: np.ndarray, source: np.ndarray, start: np.ndarray, season: int) -> np.ndarray:
    """The newest observed value a whole number of seasons (0 too) before each row of `source`, NaN where there is none.

    `y` [rows] holds all series end to end, NaN where missing; `start`: the first row of the series of each source.
    """
    found = _seasons_back(y, season)[np.maximum(source, 0)]
    # Going back may end in the series before: nothing was observed then.
    return np.where((source >= start) & (found >= start), y[found], np.nan)


def _seasons_back(y: np.ndarray, season: int) -> np.ndarray:
    """[rows] the nearest row with a value a whole number of seasons (0 too) before each, of any series; itself where none."""
    rows = np.arange(len(y))
    back = np.where(np.isnan(y) & (rows >= season), rows - season, rows)
    while True:  # each round doubles how far one goes back at once
        further = back[back]
        if np.array_equal(further, back):
            return back
        back = further
