"""Whether a comparison's registered version still exists, with its run and its files."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from tasks.registry.load import lost
from tasks.registry.versions import find
from tasks.tracking import connection, runs

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

MADE, AS = "registered_version", "registered_identity"  # tags on the run of the registered fit or baseline


def fallen(name: str, parent: str) -> str | None:
    """Why the version that a finished comparison registered is gone; None if it exists, or there was none."""
    made = _registered(parent)
    if not made:
        return None
    last = max(int(run.data.tags[MADE]) for run in made)
    last_made = [run.data.tags for run in made if int(run.data.tags[MADE]) == last]
    fits = {tags.get(AS) or tags.get(runs.IDENTITY, "") for tags in last_made}
    version = find(name, str(last))
    if version is None or not _is_of(version, fits):
        return f"version {last} was deleted"
    return lost(version)


def made_by(parent: str) -> str | None:
    """The number of the last version that a comparison registered; None if it registered none."""
    numbers = [int(run.data.tags[MADE]) for run in _registered(parent)]
    return str(max(numbers)) if numbers else None


def _registered(parent: str) -> "list[Run]":
    """The runs of a comparison whose fit or baseline is a version."""
    return [run for run in _below(parent) if re.fullmatch("[1-9][0-9]{0,8}", run.data.tags.get(MADE, ""))]


def _is_of(version: "ModelVersion", fits: Collection[str]) -> bool:
    """Whether a version is from one of some fits: a fully deleted name counts its versions from 1 again."""
    return bool({version.tags.get("identity"), version.tags.get("fit")} & set(fits))


def _below(parent: str) -> "list[Run]":
    """The runs below a comparison, including those in the trash."""
    from mlflow.entities import ViewType

    client, clause = connection.client(), f"tags.`mlflow.parentRunId` = '{parent}'"
    experiment = runs.experiment_of(parent)
    return list(
        connection.every(
            lambda token: client.search_runs([experiment], clause, ViewType.ALL, max_results=1000, page_token=token)
        )
    )
