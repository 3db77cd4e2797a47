"""What the Prefect UI shows of a flow run besides states: name, progress, leaderboard, MLflow links."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import runtime
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from flows.runtime.child import LOOPBACK
from flows.runtime.recorded import displayed
from flows.runtime.ui import UI_PORT
from params.load import load_run
from params.shown import masked
from tasks.tracking import runs
from tasks.tracking import view as pages

if TYPE_CHECKING:
    from tasks.report.publish import Compared


def run_name(verb: str) -> Callable[[], str]:
    """Names the runs of a flow by the name in the run file (`params`), not by that file's path."""

    def name() -> str:
        given = runtime.flow_run.parameters
        if given.get("plan") is not None:
            return f"{verb} {given['plan'].run.name}"
        label = Path(given["params"]).stem
        with suppress(Exception):  # the flow itself reports what is wrong with them
            label = load_run(given["params"], given.get("settings") or []).name
        return f"{verb} {label}"

    return name


def start_progress(name: str, fits: int) -> UUID | None:
    """An artifact that shows how many fits are done; None if Prefect is unreachable."""
    made = displayed(create_progress_artifact, 0.0, key=_key(name, "fits"), description=f"{name}: {fits} fits")
    return made if isinstance(made, UUID) else None


def progress(artifact: UUID | None, done: int, fits: int, last: str) -> None:
    """Updates the share that is done; `last`: the fit that just ended."""
    if artifact is not None:
        words = f"{done} of {fits} fits are done, last {last}"
        displayed(update_progress_artifact, artifact, 100.0 * done / fits, description=words)


def show_comparison(name: str, parent: str, compared: "Compared") -> None:
    """The leaderboard with its conclusion and remarks, and links to the run and its report."""
    conclusion = compared.told
    text = f"{conclusion.markdown()}\n\n{compared.leaderboard}"
    displayed(create_markdown_artifact, text, key=_key(name, "leaderboard"), description=conclusion.verdict.sentence)
    base = masked(os.environ["MLFLOW_TRACKING_URI"])
    served = base.startswith("http")
    base = base if served else f"http://{LOOPBACK}:{UI_PORT}"
    experiment = runs.experiment_of(parent)
    first = "" if served else " (first open the link that `python -m flows ui` prints)"
    for what, address in (
        ("run", pages.run_url(base, experiment, parent)),
        ("report", pages.run_url(base, experiment, parent, "report.html")),
        ("experiment", pages.experiment_url(base, experiment)),
    ):
        text = f"{name}: {what} in MLflow{first}"
        displayed(create_link_artifact, address, text, key=_key(name, what), description=text)


def _key(name: str, what: str) -> str:
    """An artifact key: Prefect accepts lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{what}").strip("-")
