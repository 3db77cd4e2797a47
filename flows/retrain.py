"""Retrain: compare, promote, forecast and score past forecasts; this is what a schedule runs.

Trigger: the deployment of `python -m flows serve`, or prefect.yaml on a work pool; by hand
`python -m flows retrain PARAMS`.  A run that starts while another is running, or that was due before the
last one began (the machine slept), is skipped.  Server and disk failures are retried; data and params are not.
"""

import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from prefect import State, Task, flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun

from flows.compare import Comparison, compare
from flows.promote import promote
from flows.runtime import artifacts
from flows.runtime.child import SERVED_BY, end_without
from flows.runtime.due import begin_run, end_run
from flows.runtime.lines import to_prefect
from flows.runtime.recorded import displayed, recorded
from flows.runtime.state import ready
from params.load import Plan, load_plan
from params.shown import discreet
from tasks.files import TABLES, require_writable
from tasks.locks import Held, shared
from tasks.promote.alias import undecided
from tasks.promote.decision import Decision
from tasks.promote.ledger import Broken
from tasks.promote.options import PromoteOptions
from tasks.serve.notify import notify
from tasks.serve.realised import score_realised, serve_forecasts
from tasks.serve.schedule import WAITS, may_pass, superseded
from tasks.serve.watched import watch_champion
from tasks.tracking import connection


class Outcome(StrEnum):
    """The outcome of a run."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    UNCHANGED = "unchanged"
    NOTHING_REGISTERED = "nothing registered"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The outcome of a run and `why`; the `version` judged, the champion after it, the `forecast`."""

    outcome: Outcome
    why: str = ""
    version: str | None = None
    champion: str | None = None
    forecast: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The outcome in words."""
        return f"{self.outcome}: {self.why}" if self.why else str(self.outcome)


@flow(name="retrain", flow_run_name=artifacts.run_name("retrain"), validate_parameters=False)
@discreet
def retrain(
    params: str,
    settings: list[str] | None = None,
    forecast: str | None = None,
    allow_dirty: bool = False,
    allow_chance: bool = False,
) -> Retrained:
    """Compares, promotes, forecasts and scores past forecasts."""
    name = Path(params).stem
    try:
        plan, home = load_plan(params, settings or []), ready()
        name = plan.run.name
        options = PromoteOptions(allow_dirty=allow_dirty, allow_chance=allow_chance, rules=plan.run.promotion)
        if forecast:
            require_writable("forecast", Path(forecast), TABLES)
        if SERVED_BY in os.environ:  # a run whose server was killed must not linger and hold the lock
            end_without(int(os.environ[SERVED_BY]))
        return _shown(name, _alone(plan, forecast, options, home))
    except Exception as error:
        notify("failure", name, why=str(error), kind=type(error).__name__)
        raise


def _alone(plan: Plan, forecast: str | None, options: PromoteOptions, home: Path) -> Retrained:
    """The run, unless another of the same name is running or the last one saw the same data."""
    name, due = plan.run.name, runtime.flow_run.scheduled_start_time if runtime.deployment.id else None
    with ExitStack() as held:
        try:
            held.enter_context(shared(home, f"retrain-{name}", wait=False))
        except Held:
            return Retrained(outcome=Outcome.SKIPPED, why="another run of it is at work")
        if superseded(home, name, due):
            why = "it was due before the last run began, which saw the same data"
            return Retrained(outcome=Outcome.SKIPPED, why=why)
        begin_run(home, name, due)
        try:
            retrained = attempt(plan, forecast, options, home)
        except Exception:
            end_run(home, name)
            raise
        end_run(home, name)
        return retrained


def _another_may_do(_task: Task[..., Retrained], _run: TaskRun, state: State[Retrained]) -> bool:
    """Whether Prefect retries an attempt."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)


@task(
    retries=len(WAITS),
    retry_delay_seconds=list(WAITS),
    retry_condition_fn=_another_may_do,
    cache_policy=NO_CACHE,
    persist_result=False,
)
@discreet
def attempt(plan: Plan, forecast: str | None, options: PromoteOptions, home: Path) -> Retrained:
    """One attempt at the whole run."""
    run = plan.run
    connection.connect(home)
    compared = recorded(compare, str(plan.path), list(plan.settings), plan=plan)
    with connection.answered("the comparison is done, and what is left of it goes on from there"):
        retrained, stopped = _decided(plan.run.name, compared, options)
        served, short = None, None
        looked_back = score_realised(run, home)
        outlook = watch_champion(run, home, looked_back)
        if forecast is not None:
            served, short = serve_forecasts(run, home, Path(forecast) if forecast else None)
    # every variant may have failed while a baseline was registered
    untrained = _failed(compared) if retrained.outcome is not Outcome.NOTHING_REGISTERED else ""
    warnings = tuple(filter(None, (untrained, looked_back.warning, *outlook.warnings, short)))
    for warning in warnings:
        notify("warning", run.name, why=warning)
    if stopped:
        raise stopped
    taken_back = outlook.rolled_back.champion if outlook.rolled_back else None
    return replace(retrained, forecast=served, warnings=warnings, champion=taken_back or retrained.champion)


def _decided(name: str, compared: Comparison, options: PromoteOptions) -> tuple[Retrained, Broken | None]:
    """The outcome for the challenger, and the error that blocks decisions; the champion forecasts on."""
    retrained = Retrained(outcome=Outcome.UNCHANGED)
    if (compared.registered and compared.registered.version) or (compared.unchanged and undecided(name)):
        try:
            retrained = _judged(recorded(promote, name, options))
        except Broken as error:
            return retrained, error
    elif not compared.unchanged:
        retrained = _nothing(name, compared)
    return retrained, None


def _nothing(name: str, compared: Comparison) -> Retrained:
    """The outcome if nothing was registered: the refit failed, or not even a baseline has a score."""
    why = (compared.registered.why if compared.registered else None) or "no model has a score on validation"
    why = "; ".join(filter(None, (why, _failed(compared))))
    notify("failure", name, why=why)
    return Retrained(outcome=Outcome.NOTHING_REGISTERED, why=why)


def _failed(compared: Comparison) -> str:
    """Says that every variant failed, with each reason; empty if one was trained to the end."""
    return f"every variant failed: {'; '.join(compared.failed)}" if compared.failed else ""


def _judged(decision: Decision) -> Retrained:
    """The outcome of the decision on the challenger; sends a notification unless it is champion already."""
    if not decision.gates:  # it is champion already
        return Retrained(outcome=Outcome.UNCHANGED, version=decision.version, champion=decision.champion)
    failed = [result for result in decision.gates if not result.passed]
    by_chance = [result for result in decision.gates if result.passed and result.option == "--allow-chance"]
    why = "; ".join(f"{result.gate}: {result.words}" for result in (failed or by_chance))
    if failed and all(result.option for result in failed):
        why += f"; to take it all the same: {decision.again}"
    event, outcome = ("promotion", Outcome.PROMOTED) if decision.promoted else ("refusal", Outcome.REFUSED)
    scores = decision.scores.to_dict() if decision.scores else {}
    notify(event, decision.name, version=decision.version, champion=decision.champion, why=why, scores=scores)
    return Retrained(outcome=outcome, version=decision.version, champion=decision.champion, why=why)


def _shown(name: str, retrained: Retrained) -> Retrained:
    words = f"{name}: {retrained.outcome}" + (f" ({retrained.why})" if retrained.why else "")
    content = json.dumps(asdict(retrained), indent=1)
    to_prefect()(words)
    displayed(create_markdown_artifact, f"{words}\n\n```json\n{content}\n```", key="retrain", description=words)
    return retrained
