"""Retrain: compare, then promote, then forecast and look back; what a schedule runs.

Trigger: the deployment of `python -m flows serve`, or prefect.yaml on a work pool; by hand `python -m flows retrain PARAMS`.
A run that comes while another is at it, or that was due before the last one began (a machine that slept), does nothing and says
so.  What may pass (a server, a disk) is tried again with back-off; what cannot (data, params) is not.
"""

import json
import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.compare import Comparison, compare
from flows.promote import promote
from flows.runtime.child import end_without
from flows.runtime.state import ready
from flows.schedule import SERVED_BY
from params.errors import without_password
from params.load import load_run
from tasks.locks import Held, lock
from tasks.promote.decision import undecided
from tasks.serve.notify import notify
from tasks.serve.realised import score_realised, serve_forecasts
from tasks.serve.schedule import again, remember, superseded
from tasks.tracking import connection


@flow(name="retrain", flow_run_name="retrain {params}", validate_parameters=False)
def retrain(
    params: str, settings: list[str] | None = None, forecast: str | None = None, allow_dirty: bool = False
) -> dict[str, Any]:
    """Returns `outcome` (promoted, refused, unchanged, nothing registered, skipped) and what is known of it."""
    run, home = load_run(params, settings or []), ready()
    if SERVED_BY in os.environ:  # else a run whose server was killed would sit there for minutes, and hold the lock below
        end_without(int(os.environ[SERVED_BY]))
    with ExitStack() as held:
        try:
            held.enter_context(lock(home, f"retrain-{run.name}", wait=False))
        except Held:
            return _told(run.name, {"outcome": "skipped", "why": "another run of it is at work"})
        began = datetime.now(UTC)
        if runtime.deployment.id and superseded(home, run.name, runtime.flow_run.scheduled_start_time):
            why = "it was due before the last run began, which saw the same data"
            return _told(run.name, {"outcome": "skipped", "why": why})
        remember(home, run.name, began)
        try:
            return _told(run.name, again(lambda: _once(params, settings or [], forecast, allow_dirty, home)))
        except Exception as error:
            notify("failure", run.name, why=without_password(str(error)), kind=type(error).__name__)
            raise


def _once(params: str, settings: list[str], forecast: str | None, allow_dirty: bool, home: Path) -> dict[str, Any]:
    run = load_run(params, settings)
    connection.connect(home)
    compared = compare(params, settings)
    found: dict[str, Any] = {"outcome": "unchanged"}
    if (compared.registered or {}).get("version") or (compared.unchanged and undecided(run.name)):
        decided = promote(run.name, None, False, allow_dirty, run.promotion.model_dump(mode="json"))
        found |= _promoted(run.name, decided)
    elif not compared.unchanged:
        found |= _nothing(run.name, compared)
    warnings = [score_realised(run, home)]
    if forecast is not None:
        found["forecast"], warning = serve_forecasts(run, home, Path(forecast) if forecast else None)
        warnings.append(warning)
    found["warnings"] = [warning for warning in warnings if warning]
    for warning in found["warnings"]:
        notify("warning", run.name, why=warning)
    return found


def _nothing(name: str, compared: Comparison) -> dict[str, Any]:
    """Nothing was registered: because no variant is good enough, or because none, or the refit, was trained to its end."""
    failed, refit = compared.failed, compared.registered.get("why")
    event, why = "refusal", "no variant beats the best naive forecast on validation"
    if failed or refit:
        event, why = "failure", refit or "every variant failed: " + "; ".join(failed)
    notify(event, name, why=why)
    return {"outcome": "nothing registered", "why": why}


def _promoted(name: str, decided: dict[str, Any]) -> dict[str, Any]:
    failed = [f"{one['gate']}: {one['words']}" for one in decided["verdicts"] if not one["passed"]]
    outcome = {"promoted": "promoted", "refused": "refused"}.get(decided["decision"], "unchanged")
    facts = {"version": decided["version"], "champion": decided["champion"], "why": "; ".join(failed)}
    if outcome != "unchanged":
        notify("promotion" if outcome == "promoted" else "refusal", name, **facts, scores=decided["scores"])
    return {"outcome": outcome, **facts}


def _told(name: str, found: dict[str, Any]) -> dict[str, Any]:
    words = f"{name}: {found['outcome']}" + (f" ({found['why']})" if found.get("why") else "")
    create_markdown_artifact(
        f"{words}\n\n```json\n{json.dumps(found, indent=1, default=str)}\n```", key="retrain", description=words
    )
    return found
