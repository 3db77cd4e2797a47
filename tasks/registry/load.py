"""A registered version: fetched once and checked against its seal before it is opened."""

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from params.errors import UserError
from tasks.registry.facts import BundleFacts, TrainedOn
from tasks.registry.schema import check_told
from tasks.registry.seal import ADDED, LONGEST_LIST, SEAL, TAG, Broken, Entry, Listing, Seal, entries
from tasks.registry.unsealed import check_plain, check_served
from tasks.tracking import connection

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    from models.serving import Model


@dataclass(frozen=True)
class Version:
    """A version, complete and unchanged: the `folder` of its bundle, and its model.json (`facts`).

    `checked`: whether the data checks passed, by its checks.json; None without one.  `root`: the folder that
    MLflow loads, with the bundle in it.  `sealed`: whether every file in it is known to be the registered
    one.
    """

    name: str
    version: str
    run_id: str
    digest: str
    folder: Path
    facts: BundleFacts
    checked: bool | None = None
    root: Path = Path()
    sealed: bool = True

    @property
    def trained_on(self) -> TrainedOn:
        """What it was trained on.  Raises UserError if it lacks what training it again needs."""
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


MANIFEST = "data/bundle/manifest.json"
UNSEALED = "was registered by a lagline that put no seal on what MLflow reads of it"


@contextmanager
def opened(version: "ModelVersion", servable: bool = False, unsealed: bool = False) -> Iterator[Version]:
    """Fetches a version for a block.  Raises UserError if one of its files is missing, extra or changed.

    A version from a lagline without seals is opened with a line on stderr.  `servable`: it is to be champion
    or run by MLflow, which such a version may only if the caller allows it (`unsealed`).
    """
    what = f"{version.name} version {version.version}"
    digest = version.tags.get("manifest") or ""
    if not digest:
        raise UserError(f"{what} was not registered by lagline: it has no manifest")
    for tag in {"manifest", TAG} & set(version.tags):
        if not re.fullmatch(r"[0-9a-f]{64}", version.tags[tag]):
            raise UserError(f"{what} is damaged and is not used: its tag {tag} is no sha256")
    sealed = TAG in version.tags
    if not sealed and servable and not unsealed:
        raise UserError(f"{what} {UNSEALED}: --unsealed takes it as it is; compare --fresh registers one with a seal")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:

        def fetch() -> tuple[Path, Path]:
            return (_sealed if sealed else _without_seal)(version, Path(tempfile.mkdtemp(dir=scratch)))

        try:
            root, bundle = connection.fetched(fetch, Path(scratch))
            files = _contents(bundle, digest)
            if not sealed:
                check_served(root, bundle, servable)
        except (Broken, OSError) as error:
            raise UserError(f"{what} is damaged and is not used: {error}") from None
        if not sealed:
            print(f"{what} {UNSEALED}; only its bundle is known to be what was registered", file=sys.stderr)
        try:
            bundle_facts, checked = _description(files)
        except ValueError as error:
            raise UserError(f"{what} is not used, for it says of itself what no version says: {error}") from None
        run = version.run_id or ""
        yield Version(version.name, str(version.version), run, digest, bundle, bundle_facts, checked, root, sealed)


def _description(files: dict[str, bytes]) -> tuple[BundleFacts, bool | None]:
    """What a bundle says about itself, and whether its data checks passed.  Raises ValueError if invalid."""
    for name in {"checks.json", "example.json"} & set(files):
        check_told(name, files[name])
    checked = bool(json.loads(files["checks.json"])["passed"]) if "checks.json" in files else None
    return BundleFacts.read(files["model.json"]), checked


def on_disk(root: Path, seal: Seal, name: str, number: str) -> Version:
    """A version in a local folder, without asking a registry: every file is checked against its seal first.

    Raises Broken if one differs, or the version's own description is invalid.
    """
    seal.check(root)
    bundle = _bundle_in(root, seal)
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    try:
        bundle_facts, checked = _description(_contents(bundle, digest))
    except ValueError as error:
        raise Broken(str(error)) from None
    return Version(name, number, "", digest, bundle, bundle_facts, checked, root)


def _bundle_in(root: Path, seal: Seal) -> Path:
    """The bundle's place in a version's folder."""
    return (root / next((path for path in seal.files if Path(path).match("data/*/manifest.json")), MANIFEST)).parent


def _sealed(version: "ModelVersion", scratch: Path) -> tuple[Path, Path]:
    """A copy of a version's folder with every file as sealed, and the bundle's place in it.

    Extra or missing files and wrong sizes are found before fetching.  Raises Broken.
    """
    store = _store(version)
    listing = _listing(store)
    size = next((entry.bytes for entry in listing("") if entry.path == SEAL), None)
    if size is None or size > LONGEST_LIST:
        raise Broken(f"{SEAL} is missing, or is no plain file" if size is None else f"{SEAL} is too large to be a seal")
    seal = Seal.read(_fetched(store, SEAL, scratch / "seal").read_bytes(), version.tags[TAG])
    seal.compare(listing)
    root = _fetched(store, "", scratch / "version")
    (root / ADDED).unlink(missing_ok=True)
    seal.check(root)
    return root, _bundle_in(root, seal)


def _without_seal(version: "ModelVersion", scratch: Path) -> tuple[Path, Path]:
    """The same for a version without a seal: only the bundle itself is checked.  Raises Broken."""
    store = _store(version)
    check_plain(_listing(store))
    root = _fetched(store, "", scratch / "version")
    manifest = next(iter(sorted(root.glob("data/*/manifest.json"))), root / "data" / "bundle" / "manifest.json")
    return root, manifest.parent


def lost(version: "ModelVersion") -> str | None:
    """What of a version is gone: a file, or its run; None if it is complete, even if changed."""
    from mlflow.exceptions import MlflowException

    what = f"version {version.version}"
    try:
        run = connection.client().get_run(version.run_id) if version.run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return f"the run of {what} was deleted"
    if run is not None and run.info.lifecycle_stage == "deleted":
        return f"the run of {what} was deleted"
    file = lost_file(version)
    return f"{what} has lost {file}" if file else None


def lost_file(version: "ModelVersion") -> str | None:
    """The first file in a version's own record that is gone; None if all exist, changed or not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:

        def look() -> str | None:
            return _first_gone(version, Path(tempfile.mkdtemp(dir=scratch)))

        gone: str | None = connection.fetched(look, Path(scratch))
    return gone


def _first_gone(version: "ModelVersion", scratch: Path) -> str | None:
    store = _store(version)
    listing = _listing(store)
    record = SEAL if TAG in version.tags else MANIFEST
    if record not in {entry.path for entry in listing(str(PurePosixPath(record).parent).removeprefix("."))}:
        return record
    try:
        content = _fetched(store, record, scratch / "record").read_bytes()
        if record == SEAL:
            named = list(Seal.read(content, version.tags[TAG]).files)
        else:
            named = ["MLmodel", *(f"{PurePosixPath(MANIFEST).parent}/{name}" for name in json.loads(content)["files"])]
    except (Broken, ValueError, LookupError, TypeError):
        return None  # damaged, which opening it reports
    folders = {str(PurePosixPath(path).parent).removeprefix(".") for path in named}
    there = {entry.path for folder in folders for entry in listing(folder) if not entry.folder}
    return next((path for path in sorted(named) if path not in there), None)


def _store(version: "ModelVersion") -> "ModelsArtifactRepository":
    """The store of a version's files."""
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    return ModelsArtifactRepository(f"models:/{version.name}/{version.version}")


@contextmanager
def _readable() -> Iterator[None]:
    """Raises Broken if MLflow cannot supply what it has, unless its server is unreachable."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        connection.raise_if_away(error)
        raise Broken(f"MLflow cannot give its files ({str(error).splitlines()[0][:300]})") from None


def _listing(store: "ModelsArtifactRepository") -> Listing:
    """The contents of a store's folder; a local one as the file system lists it, following no link."""
    here = getattr(store.repo, "artifact_dir", None)

    def listing(below: str) -> Iterable[Entry]:
        if here is not None:
            return list(entries(Path(here), below)) if (Path(here) / below).is_dir() else []
        with _readable():
            infos = store.list_artifacts(below)
        return [Entry(info.path, None if info.is_dir else info.file_size or 0, info.is_dir) for info in infos]

    return listing


def _fetched(store: "ModelsArtifactRepository", path: str, folder: Path) -> Path:
    """A copy of a file, or ("") of all files."""
    folder.mkdir()
    with _readable():
        return Path(store.download_artifacts(path, str(folder)))


def _contents(bundle: Path, digest: str) -> dict[str, bytes]:
    """Every file of a bundle.  Raises Broken unless it is complete and unchanged."""
    from models import serving

    try:
        return serving.check(bundle, digest)
    except ValueError as error:
        raise Broken(str(error).replace(f"{bundle}: ", "")) from None
