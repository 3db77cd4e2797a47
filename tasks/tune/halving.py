"""Successive halving by the epoch curve (ASHA, Li et al. 2020): at a rung the better half continues.

There are two rungs, after one and two thirds of the epochs.  The rule reads the trials that a draw knows, so
its result does not depend on how many run at a time, nor on when it is evaluated (after a kill).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.fit.settings import Epoch

LEAST = 5  # trials needed at a rung before any is pruned there


class Cut(NamedTuple):
    """Where a trial is pruned: after which epoch, with what error, and which error would have continued."""

    epoch: int
    error: float
    bound: float


@dataclass(frozen=True)
class Halving:
    """The rule for one trial: its rungs, and the errors of the trials it is compared with at each.

    `column`: the error in an epoch's row that picks the best epoch.
    """

    column: str
    peers: Mapping[int, Sequence[float]]

    @classmethod
    def of(cls, max_epochs: int, column: str, others: Sequence[Mapping[int, float]]) -> "Halving":
        """`others`: the rung errors of the trials it is compared with."""
        rungs = [rung for rung in dict.fromkeys(math.ceil(max_epochs * part / 3) for part in (1, 2)) if rung < max_epochs]
        return cls(column, {rung: [errors[rung] for errors in others if rung in errors] for rung in rungs})

    def at(self, rows: Sequence[Epoch]) -> dict[int, float]:
        """The best error so far at each rung of an ended fit; after its end it keeps its best."""
        return {rung: min(row[self.column] for row in rows if row["epoch"] < rung) for rung in self.peers}

    def cut(self, errors: Mapping[int, float], epochs: int) -> Cut | None:
        """Where a trial with this many epochs is pruned, or None.  `errors`: at the rungs it has reached."""
        for rung in sorted(self.peers):
            if rung <= epochs and rung in errors and len(self.peers[rung]) >= LEAST:
                bound = _median(self.peers[rung])
                if errors[rung] > bound:
                    return Cut(rung, errors[rung], bound)
        return None


def _median(values: Sequence[float]) -> float:
    """The upper median: half, or slightly more, continue."""
    return sorted(values)[len(values) // 2]
