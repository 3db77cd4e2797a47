"""A registered version: found, fetched, and held against its digest before it is opened; judges nothing."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from params.errors import UserError
from tasks.tracking import connection

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from models.serving import Model

CHAMPION = "champion"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Version:
    """A version of a name, whole and unchanged: the `folder` of its bundle, and its model.json (`facts`)."""

    name: str
    number: str
    run_id: str
    digest: str
    folder: Path
    facts: dict[str, Any]

    @property
    def trained_on(self) -> dict[str, Any]:
        """Fingerprint, job, run params, scores, border of what it has seen; a version of an older lagline may lack some."""
        found: dict[str, Any] = self.facts["trained_on"]
        return found

    @cached_property
    def model(self) -> "Model":
        """The model, ready to forecast; opened once, which takes seconds."""
        from models import serving

        return serving.load(self.folder, self.digest)

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


def check_name(name: str) -> None:
    """Raises UserError for what no run file may have as its name."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 64 else name[:61] + "..."
        raise UserError(f"the name {shown!r}: use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit, as in a run file")


def parse(reference: str) -> tuple[str, str]:
    """(name, alias or number) of NAME, NAME@ALIAS or NAME@NUMBER; the champion where nothing is said.  Raises UserError."""
    name, at, which = reference.partition("@")
    if not NAME.fullmatch(name) or (at and not re.fullmatch(r"[a-z]+|[1-9]\d*", which)):
        raise UserError(f"{reference}: write NAME@champion, NAME@challenger or NAME@3, such as nyc-weather@champion")
    return name, which or CHAMPION


def find(name: str, which: str) -> "ModelVersion | None":
    """The version that an alias or a number names, or None."""
    from mlflow.exceptions import MlflowException

    client = connection.client()
    if which.isdecimal() and len(which) > 9:  # no store counts so far, and some fail on it
        return None
    try:
        found = client.get_model_version(name, which) if which.isdecimal() else client.get_model_version_by_alias(name, which)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return found


def needed(name: str, which: str) -> "ModelVersion":
    """The same.  Raises UserError, saying what there is, where there is none."""
    found = find(name, which)
    if found is None:
        there = connection.client().search_model_versions(f"name = '{name}'")
        numbers = ", ".join(sorted((str(version.version) for version in there), key=int))
        what = f"there are versions {numbers}" if numbers else "nothing is registered under that name: run compare first"
        raise UserError(f"{name}@{which}: there is no such version; {what}")
    return found


def _check_code(fetched: Path, bundle: Path, what: str) -> None:
    """The copy of the serving code that MLflow runs must be the one in the bundle, and no other may lie there."""
    for path in sorted(path for path in (fetched / "code").rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        own = bundle / "code" / path.name
        if not own.is_file() or own.read_bytes() != path.read_bytes():
            raise UserError(f"{what} is damaged and is not used: code/{path.name} is not the file that was registered")


def _check_servable(fetched: Path, bundle: Path, what: str) -> None:
    """What MLflow reads before it comes to the bundle must be there."""
    for name in ("MLmodel", *(f"code/{path.name}" for path in sorted((bundle / "code").iterdir()))):
        if not (fetched / name).is_file():
            raise UserError(f"{what} is damaged and is not used: {name} is missing")


@contextmanager
def opened(version: "ModelVersion", servable: bool = False) -> Iterator[Version]:
    """Fetches a version for the block.  Raises UserError where a file of it is missing, extra or changed.

    `servable`: and where one is missing that only MLflow reads, around the bundle.
    """
    from mlflow.artifacts import download_artifacts

    from models import serving

    digest = version.tags.get("manifest") or ""
    if not digest:
        raise UserError(f"{version.name} version {version.version} was not registered by lagline: it has no manifest")
    with tempfile.TemporaryDirectory() as scratch:
        fetched = Path(download_artifacts(artifact_uri=f"models:/{version.name}/{version.version}", dst_path=scratch))
        manifest = next(iter(sorted(fetched.rglob("manifest.json"))), fetched / "data" / "bundle" / "manifest.json")
        try:
            facts = json.loads(serving.check(manifest.parent, digest)["model.json"])
        except ValueError as error:
            what = str(error).replace(f"{manifest.parent}: ", "")
            raise UserError(f"{version.name} version {version.version} is damaged and is not used: {what}") from None
        _check_code(fetched, manifest.parent, f"{version.name} version {version.version}")
        if servable:
            _check_servable(fetched, manifest.parent, f"{version.name} version {version.version}")
        yield Version(version.name, str(version.version), version.run_id or "", digest, manifest.parent, facts)
