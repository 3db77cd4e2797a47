"""A registered version: fetched, and held against its digest before it is opened."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from params.errors import UserError
from tasks.registry.facts import BundleFacts, TrainedOn

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from models.serving import Model


@dataclass(frozen=True)
class Version:
    """A version of a name, whole and unchanged: the `folder` of its bundle, and what its model.json says (`facts`).

    `checked`: whether the data checks passed, as its checks.json says; None where there is none.
    """

    name: str
    version: str
    run_id: str
    digest: str
    folder: Path
    facts: BundleFacts
    checked: bool | None = None

    @property
    def trained_on(self) -> TrainedOn:
        """What it was trained on.  Raises UserError where it does not say what it takes to train it again."""
        if self.facts.trained_on is None:
            raise UserError(f"{self} was registered by an older lagline and lacks {', '.join(self.facts.lacks)}: compare again")
        return self.facts.trained_on

    @cached_property
    def model(self) -> "Model":
        """The model, ready to forecast; opened once, which takes seconds."""
        from models import serving

        return serving.load(self.folder, self.digest)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


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
            files = serving.check(manifest.parent, digest)
        except ValueError as error:
            what = str(error).replace(f"{manifest.parent}: ", "")
            raise UserError(f"{version.name} version {version.version} is damaged and is not used: {what}") from None
        _check_code(fetched, manifest.parent, f"{version.name} version {version.version}")
        if servable:
            _check_servable(fetched, manifest.parent, f"{version.name} version {version.version}")
        facts = BundleFacts.from_dict(json.loads(files["model.json"]))
        checked = json.loads(files["checks.json"])["passed"] if "checks.json" in files else None
        yield Version(version.name, str(version.version), version.run_id or "", digest, manifest.parent, facts, checked)
