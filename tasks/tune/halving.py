"""Successive halving by the epoch curve (ASHA, Li et al. 2020): at a rung the better half of the trials there goes on.

Two rungs, after a third and two thirds of the epochs.  The rule reads the trials that a draw knows, so that it finds the same
however many run at a time; where it is looked at late (a process was killed), it still finds the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.fit.settings import Epoch

LEAST = 5  # trials at a rung before any is pruned there


class Cut(NamedTuple):
    """Where a trial is pruned: after which epoch, with what error, and the error that would have gone on."""

    epoch: int
    error: float
    bound: float


@dataclass(frozen=True)
class Halving:
    """The rule for one trial: its rungs, and the errors of the trials that it is held against at each.

    `column`: of an epoch's row, the error that says which epoch is the best.
    """

    column: str
    peers: Mapping[int, Sequence[float]]

    @classmethod
    def of(cls, max_epochs: int, column: str, others: Sequence[Mapping[int, float]]) -> "Halving":
        """`others`: the errors at their rungs of the trials that it is held against."""
        rungs = [rung for rung in dict.fromkeys(math.ceil(max_epochs * part / 3) for part in (1, 2)) if rung < max_epochs]
        return cls(column, {rung: [one[rung] for one in others if rung in one] for rung in rungs})

    def at(self, rows: Sequence[Epoch]) -> dict[int, float]:
        """The best error so far at each rung, of a fit that has ended: one that ended before a rung stays as good as it was."""
        return {rung: min(row[self.column] for row in rows if row["epoch"] < rung) for rung in self.peers}

    def cut(self, errors: Mapping[int, float], epochs: int) -> Cut | None:
        """Where a trial is pruned that has had so many epochs, or None.  `errors`: at the rungs that it has come to."""
        for rung in sorted(self.peers):
            if rung <= epochs and rung in errors and len(self.peers[rung]) >= LEAST:
                bound = _median(self.peers[rung])
                if errors[rung] > bound:
                    return Cut(rung, errors[rung], bound)
        return None


def _median(values: Sequence[float]) -> float:
    """The upper one of two in the middle: half, or a little more, goes on."""
    return sorted(values)[len(values) // 2]
