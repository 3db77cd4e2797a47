"""What a watch leaves behind: a run in MLflow, a notification, and for a schedule the champion taken back."""

from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from params.schema import RunParams
from params.section import REALISED
from params.shown import discreet
from tasks.evaluate.frames import COVERAGE
from tasks.registry.load import opened
from tasks.registry.versions import CHAMPION, find
from tasks.serve.notify import notify
from tasks.serve.realised import LookedBack
from tasks.serve.rollback import RolledBack, roll_back_if_worse
from tasks.serve.watch import Watched, own_run, watch
from tasks.serve.watch_page import page
from tasks.tracking import logs, runs

KIND = "watch"
MOST = 100  # columns with metrics of their own, those furthest above their bars


def record(seen: Watched, text: str, home: Path) -> str:
    """Logs a watch to the one run of its version, at the model's age as step; returns the run's id."""
    experiment = runs.experiment(f"{seen.name}{REALISED}", home)
    tags = {"kind": KIND, "version": seen.version}
    run = runs.find_run(experiment, tags)
    name = f"watch version {seen.version}"
    run_id = runs.made_run(experiment, name, f"{KIND}-{seen.version}", tags) if run is None else run.info.run_id
    runs.go_on(run_id)
    logs.log_metrics(run_id, metrics(seen), seen.since.steps)
    logs.log_text(run_id, text, "watch.html")
    logs.describe(run_id, seen.verdict)
    runs.finish(run_id)
    return run_id


def metrics(seen: Watched) -> dict[str, float | None]:
    """The numbers of a watch, by the names of MLflow."""
    drifts, series, past = [drift for drift in seen.since.drifts if drift.judged], seen.since.series, seen.realised
    numbers: dict[str, float | None] = {
        "findings": len(seen.findings),
        "drifting_columns": sum(drift.since is not None for drift in drifts),
        "absent_series": len(series.absent),
        "late_series": len(series.late),
        "new_series": len(series.new),
        "new_rows": seen.since.rows,
        "realised_skill": past.skill if past else None,
        f"realised_coverage_{COVERAGE}": past.coverage if past else None,
    }
    for drift in sorted(drifts, key=lambda drift: -drift.excess)[:MOST]:
        numbers |= {logs.legal(f"psi_{drift.feature}"): drift.psi, logs.legal(f"ks_{drift.feature}"): drift.distance}
    return numbers


def tell(seen: Watched) -> None:
    """Runs LAGLINE_NOTIFY_COMMAND if something was found."""
    if seen.findings:
        some = [{"about": finding.about, "why": str(finding), "since": finding.since} for finding in seen.findings]
        notify(KIND, seen.name, version=seen.version, why=seen.verdict, findings=some)


@dataclass(frozen=True)
class Outlook:
    """What a schedule learnt of its champion: `warnings` of the watch itself, and whether it was taken back."""

    warnings: tuple[str, ...] = ()
    rolled_back: RolledBack | None = None


@task(cache_policy=NO_CACHE)
@discreet
def watch_champion(run: RunParams, home: Path, looked: LookedBack) -> Outlook:
    """Watches the champion, and takes it back where the run's rule says so.

    It never stops a run: its own failures become warnings too.
    """
    warnings, back = list[str](), None
    try:
        _watched(run, home, looked)
    except Exception as error:
        warnings.append(f"the champion could not be watched: {type(error).__name__}: {error}")
    try:
        back = roll_back_if_worse(run, looked.realised, looked.champion, home)
    except Exception as error:
        warnings.append(f"the champion could not be taken back, and stays: {type(error).__name__}: {error}")
    if back is not None:
        notify(
            "rollback" if back.champion else "warning", run.name, version=back.version, champion=back.champion, why=back.words
        )
    return Outlook(tuple(warnings), back)


def _watched(run: RunParams, home: Path, looked: LookedBack) -> None:
    champion = find(run.name, CHAMPION)
    if champion is None:
        return
    past = looked.realised if looked.champion == str(champion.version) else None
    with opened(champion) as version:
        seen = watch(version, own_run(version, run), home, past=past)
    record(seen, page(seen), home)
    tell(seen)
