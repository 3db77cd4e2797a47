"""A trial's values by TPE (Bergstra et al. 2011; multivariate, Falkner et al. 2018), deterministically.

Every draw has its own sampler, seeded by seed, variant and number, over the trials it may know: the same
whoever runs it, when, and with however many trials in progress.
"""

import hashlib
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from params.search import Dimension, Value
from tasks.tune.space import Space
from tasks.tune.trial import State, Trial, known_to

STATES = {
    State.RUNNING: TrialState.RUNNING,
    State.FINISHED: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}
optuna.logging.set_verbosity(optuna.logging.ERROR)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension in Optuna's form."""
    low, high, step = dimension.low, dimension.high, dimension.step
    if low is None or high is None:
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=dimension.log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=dimension.log, step=step)


def draw(space: Space, trials: Sequence[Trial], seed: int, number: int, ahead: int) -> dict[str, Value]:
    """The values that the trial with a number tries; the first takes the variant's own.

    `trials`: the variant's earlier ones; the outcomes of the last few are not known."""
    if number == 0 and space.start is not None:
        return dict(space.start)
    past = [_seen(trial, space) for trial in known_to(number, trials, ahead)]
    running = [_seen(_unknown(trial), space) for trial in trials if number - ahead < trial.number < number]
    sampler = TPESampler(seed=_seed(space.variant, seed, number), multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    study.add_trials([*past, *running])
    drawn = study.ask({key: distribution(dimension) for key, dimension in space.dimensions.items()}).params
    return {key: dimension.rounded(drawn[key]) for key, dimension in space.dimensions.items()}


def _seed(variant: str, seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{variant}|{seed}|{number}".encode()).digest()[:4], "big")


def _unknown(trial: Trial) -> Trial:
    return Trial(variant=trial.variant, number=trial.number, values=trial.values)


def _seen(trial: Trial, space: Space) -> FrozenTrial:
    """A trial for the sampler: a failed one is worse than any pruned one, which is worse than any other."""
    if trial.state is State.FAILED:
        return frozen(trial, space.dimensions, TrialState.PRUNED, {})
    return frozen(trial, space.dimensions, STATES[trial.state], trial.rungs)


def frozen(trial: Trial, dimensions: Mapping[str, Dimension], state: TrialState, rungs: Mapping[int, float]) -> FrozenTrial:
    """A trial in Optuna's form."""
    return create_trial(
        state=state,
        value=trial.score if state is TrialState.COMPLETE else None,
        params=dict(trial.values),
        distributions={key: distribution(dimension) for key, dimension in dimensions.items()},
        intermediate_values=dict(rungs),
    )
