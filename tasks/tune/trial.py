"""A trial of a search: its drawn values and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from params.search import Value
from params.shown import visible

AHEAD = 4  # a variant's trials in progress at once, whose outcome the next draw does not know


class State(StrEnum):
    """The outcome of a trial."""

    RUNNING = "running"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial by its number among those of its variant, from 0.

    `rungs`: the best error so far at each epoch where halving looks.  `score`: on validation, in the run's
    measure, averaged over folds; None if it did not finish.  `identity`: of its newest fit, whose MLflow run
    is `run_id`.  `seconds`: of its fits' training.  `reason`: why it was pruned or failed.
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
        """Its values in one line."""
        return ", ".join(f"{key.removeprefix('training.')} {visible(str(value))}" for key, value in self.values.items())

    @property
    def ended(self) -> bool:
        """Whether it has an outcome."""
        return self.state is not State.RUNNING


def known_to(number: int, trials: Sequence[Trial], ahead: int) -> list[Trial]:
    """The trials whose outcome the trial with a number knows, however many run at a time."""
    return [trial for trial in trials if trial.number <= number - ahead]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The finished trials, best first; ties by lowest number, then name."""
    done = [trial for trial in trials if trial.state is State.FINISHED and trial.score is not None]
    return sorted(done, key=lambda trial: (trial.score, trial.number, trial.variant))
