"""The store of searches: Optuna's tables in `tune.db` of the state folder, or in MLflow's PostgreSQL.

A trial is written with all its values, in one transaction, before it runs, and its outcome when it has ended.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from params.errors import Unavailable
from params.schema import RunParams
from params.search import Value
from tasks.train.code import judging_digest
from tasks.train.identity import canonical, identity, sha256
from tasks.train.job import Planned
from tasks.tune.draw import STATES, frozen
from tasks.tune.space import Space
from tasks.tune.trial import State, Trial

SCHEMA = "lagline_tune"  # shared with MLflow's tables, both would use alembic_version
KEPT = ("identity", "run_id", "seconds", "reason")  # of a trial, besides Optuna's own columns
RUNGS = "rungs"  # an ended trial's rungs that count: it may have run further before it stopped
WHOLE = "whole"  # marks a study whose facts are all written
RULE = 1  # version of the rule for drawing and pruning trials
LEAST = 8  # finished trials needed for a key's importance


def identity_of(run: RunParams, fits: Mapping[str, Sequence[Planned]], spaces: Mapping[str, Space], seed: int) -> str:
    """The identity of a search: its variants' fits as they are, what may change in them, the score, the seed.

    The number of trials or minutes is not part of it.
    """
    inputs = {
        "run": run.name,
        "fits": {name: [identity(fit.job, fit.job.panel.name) for fit in some] for name, some in fits.items()},
        "spaces": {
            name: {key: dimension.model_dump(mode="json") for key, dimension in space.dimensions.items()}
            for name, space in spaces.items()
        },
        "measure": run.evaluation.choose_by,
        "judged_by": judging_digest(),
        "rule": RULE,
        "seed": seed,
    }
    return sha256(canonical(inputs))


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search: its run, identity and seed, and how many trials of a variant may be in progress.

    `began`: when it was last started, in seconds since 1970.  `spent`: the seconds it has run.  `measure`: of
    scores.
    """

    identity: str
    run: str
    seed: int
    ahead: int
    measure: str
    folds: int
    began: float = 0.0
    spent: float = 0.0


class Store:
    """The searches of a state folder."""

    def __init__(self, home: Path) -> None:
        self._storage = _open(home, os.environ.get("MLFLOW_TRACKING_URI", ""))

    def begin(self, search: Search, spaces: Mapping[str, Space]) -> Search:
        """The search as stored; an existing one with this identity continues."""
        there = {entry.study_name: entry for entry in self._storage.get_all_studies()}
        for variant in spaces:
            name = f"{search.identity}/{variant}"
            kept = there.get(name)
            place = kept._study_id if kept else self._storage.create_new_study([StudyDirection.MINIMIZE], name)
            if kept is None or WHOLE not in kept.user_attrs:
                for key, value in {"variant": variant, **asdict(search), WHOLE: True}.items():
                    self._storage.set_study_user_attr(place, key, value)
        stored = next(entry for entry in self.searches(search.run) if entry.identity == search.identity)
        stored = replace(stored, began=time.time())
        self._set(stored, "began", stored.began)
        return stored

    def searches(self, run: str) -> list[Search]:
        """The searches of a run by name, last started first."""
        by_identity = dict[str, Search]()
        for study in self._storage.get_all_studies():
            if study.user_attrs.get("run") == run and WHOLE in study.user_attrs:
                attributes = {attribute.name: study.user_attrs[attribute.name] for attribute in fields(Search)}
                by_identity.setdefault(attributes["identity"], Search(**attributes))
        return sorted(by_identity.values(), key=lambda search: -search.began)

    def variants(self, search: Search) -> list[str]:
        """The variants of a search, in order."""
        studies = self._storage.get_all_studies()
        return [study.user_attrs["variant"] for study in studies if study.study_name.partition("/")[0] == search.identity]

    def spend(self, search: Search, seconds: float) -> None:
        """Stores how long a search has run."""
        self._set(search, "spent", seconds)

    def trials(self, search: Search, variant: str) -> list[Trial]:
        """The trials of a variant by number."""
        return [_trial(variant, kept) for kept in self._storage.get_all_trials(self._study(search, variant))]

    def add(self, search: Search, space: Space, values: Mapping[str, Value], number: int) -> Trial:
        """Stores a trial that is about to run."""
        trial = Trial(variant=space.variant, number=number, values=values)
        made = frozen(trial, space.dimensions, TrialState.RUNNING, {})
        self._storage.create_new_trial(self._study(search, space.variant), made)
        return trial

    def heard(self, search: Search, trial: Trial, rung: int, error: float) -> None:
        """Stores a running trial's error at a rung."""
        self._storage.set_trial_intermediate_value(self._id(search, trial), rung, error)

    def end(self, search: Search, trial: Trial) -> None:
        """Stores the outcome of a trial."""
        place = self._id(search, trial)
        for rung, error in trial.rungs.items():
            self._storage.set_trial_intermediate_value(place, rung, error)
        attributes = {key: getattr(trial, key) for key in KEPT} | {RUNGS: list(trial.rungs.items())}
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(place, key, value)
        values = None if trial.score is None else [trial.score]
        self._storage.set_trial_state_values(place, STATES[trial.state], values)

    def importance(self, search: Search, variant: str) -> dict[str, float]:
        """How much each key says about being among the best trials, as shares of one, largest first.

        PED-ANOVA, Watanabe et al. 2023; empty if too few trials have finished."""
        done = [trial for trial in self.trials(search, variant) if trial.state is State.FINISHED]
        if len(done) < LEAST:
            return {}
        study = optuna.load_study(study_name=f"{search.identity}/{variant}", storage=self._storage)
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))

    def _study(self, search: Search, variant: str) -> int:
        return self._storage.get_study_id_from_name(f"{search.identity}/{variant}")

    def _id(self, search: Search, trial: Trial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study(search, trial.variant), trial.number)

    def _set(self, search: Search, key: str, value: float) -> None:
        for variant in self.variants(search):
            self._storage.set_study_user_attr(self._study(search, variant), key, value)


def _open(home: Path, store: str) -> RDBStorage:
    """Raises Unavailable if the database does not answer or is not Optuna's."""
    there = store if store.startswith("postgresql") else f"sqlite:///{home}/tune.db"
    try:
        return _opened(there)
    except (SQLAlchemyError, RuntimeError) as error:  # RuntimeError: tables of another Optuna version
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(f"{there}: the searches of tune cannot be read ({why})") from None


def _opened(address: str) -> RDBStorage:
    if address.startswith("sqlite"):
        return RDBStorage(address)
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    engine.dispose()
    return RDBStorage(address, engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}})


def _trial(variant: str, kept: FrozenTrial) -> Trial:
    state = next(ours for ours, theirs in STATES.items() if theirs is kept.state)
    attributes = {key: kept.user_attrs[key] for key in KEPT if key in kept.user_attrs}
    return Trial(
        variant=variant,
        number=kept.number,
        values=kept.params,
        state=state,
        rungs=dict(kept.user_attrs[RUNGS]) if kept.state.is_finished() else kept.intermediate_values,
        score=kept.value if state is State.FINISHED else None,
        **attributes,
    )


def all_trials(store: Store, search: Search) -> list[Trial]:
    """The trials of a search, variant by variant."""
    by_variant: Sequence[list[Trial]] = [store.trials(search, variant) for variant in store.variants(search)]
    return [trial for trials in by_variant for trial in trials]
