"""A trial of a search: the values that were drawn, and what came of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from params.search import Value
from params.shown import visible

AHEAD = 4  # trials of a variant that may be under way together, and whose outcome the next draw does not know


class State(StrEnum):
    """What became of a trial."""

    RUNNING = "running"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial by its number among those of its variant, from 0.

    `rungs`: the best error so far after so many epochs, where the halving looks.  `score`: on validation, in the measure of the
    run, a mean over folds; None where it did not finish.  `identity`: of its newest fit, whose MLflow run is `run_id`.
    `seconds`: what its fits trained for.  `reason`: why it was pruned or failed.
    """

    variant: str
    number: int
    values: Mapping[str, Value]
    state: State = State.RUNNING
    rungs: Mapping[int, float] = field(default_factory=dict)
    score: float | None = None
    identity: str = ""
    run_id: str = ""
    seconds: float = 0.0
    reason: str = ""

    @property
    def label(self) -> str:
        """Its name among the fits of a run."""
        return f"{self.variant}-t{self.number}"

    @property
    def words(self) -> str:
        """Its values in a line."""
        return ", ".join(f"{key.removeprefix('training.')} {visible(str(value))}" for key, value in self.values.items())

    @property
    def ended(self) -> bool:
        """Whether anything came of it."""
        return self.state is not State.RUNNING


def known_to(number: int, trials: Sequence[Trial], ahead: int) -> list[Trial]:
    """The trials of a variant whose outcome the trial of a number knows: however many run at a time, the same."""
    return [one for one in trials if one.number <= number - ahead]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The finished trials, the best first; of equal ones that of the lowest number, then by name."""
    done = [one for one in trials if one.state is State.FINISHED and one.score is not None]
    return sorted(done, key=lambda one: (one.score, one.number, one.variant))
