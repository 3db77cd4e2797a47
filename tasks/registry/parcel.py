"""A version and its panel as one file: exported from one home, registered in another, whatever the store.

A zip with uncompressed members:

export.json   what it is: name, version, and the sha256 of seal and panel
version/      the folder of the version, every file in its seal
panel/        the panel it was trained on and is judged by

Its content is trusted as far as it matches the seal.  The seal itself is the sender's word: it is printed on
both sides, and code that differs from this checkout's is reported, since a promotion runs it.
"""

import hashlib
import json
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from models import serving
from models.data.panel import UNREADABLE, arrays_of
from params.errors import UserError
from tasks import shelf
from tasks.files import placed
from tasks.lags.panel import ask_for_room, is_whole
from tasks.registry.load import Version, on_disk, opened
from tasks.registry.register import tags_of
from tasks.registry.seal import LONGEST_LIST, SEAL, TAG, Broken, Digest, Seal
from tasks.registry.unsealed import check_served
from tasks.registry.unseen import panel_of
from tasks.registry.versions import NAME, Registered, check_name, once, version_of
from tasks.tracking import connection, logs, runs

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

LAYOUT, TOLD, VERSION, PANEL, FACTS = 1, "export.json", "version/", "panel/", "panel.json"
BLOCK, DAY_0 = 1 << 23, (1980, 1, 1, 0, 0, 0)  # a fixed time: the same version gives the same bytes
KIND = "import"  # kind of an imported version's run


class Told(BaseModel):
    """The content of export.json: name and version, its seal and its panel."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    layout: int = Field(ge=LAYOUT, le=LAYOUT)
    name: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
    version: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$")]
    seal: Digest
    panel: Digest


@dataclass(frozen=True)
class Imported:
    """The result of an import; `own_code`: whether its code is the same as this checkout's."""

    told: Told
    registered: Registered
    own_code: bool


def export(registered: "ModelVersion", home: Path, file: Path) -> Told:
    """Writes a version with its panel in place of `file`, atomically.

    Raises UserError if it is damaged, has no seal, or its panel is gone.
    """
    with opened(registered, servable=True) as version:
        panel = panel_of(version, home)
        header = Told(
            layout=LAYOUT, name=version.name, version=version.version, seal=registered.tags[TAG], panel=panel.digest
        )  # fmt: skip
        sealed = Seal.read((version.root / SEAL).read_bytes(), header.seal)
        members = {f"{VERSION}{path}": version.root / path for path in (*sorted(sealed.files), SEAL)}
        panel_facts = json.loads((panel.folder / FACTS).read_text())
        members |= {f"{PANEL}{name}": panel.folder / name for name in _files_of(panel_facts)}
        ask_for_room(sum(source.stat().st_size for source in members.values()), file.absolute().parent)
        with placed(file) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as made:
            made.writestr(_member(TOLD), header.model_dump_json(indent=1))
            for name, source in members.items():
                with source.open("rb") as given, made.open(_member(name), "w", force_zip64=True) as taken:
                    shutil.copyfileobj(given, taken, BLOCK)
    return header


def import_(file: Path, home: Path) -> Imported:
    """Registers a file's version as challenger and keeps its panel; an existing one is not made again.

    Raises UserError for files that no export wrote or that do not match their seal; then nothing is kept.
    """
    try:
        with file.open("rb") as opened_, zipfile.ZipFile(opened_) as given:
            parcel = _Parcel.opened(given)
            with tempfile.TemporaryDirectory(dir=_panels(home), prefix=".partial-", ignore_cleanup_errors=True) as name:
                return _taken(parcel, Path(name), home)
    except (Broken, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{file}: that is no export of lagline, or it is damaged ({error}): nothing was imported") from None


@dataclass(frozen=True)
class _Parcel:
    """An open file: what it says it is, the version's seal, and its members by name."""

    given: zipfile.ZipFile
    told: Told
    seal: Seal
    panel: tuple[str, ...]

    @classmethod
    def opened(cls, given: zipfile.ZipFile) -> Self:
        """Checks that every member is one that export writes, of the stated size.  Raises Broken."""
        members = {member.filename: member for member in given.infolist()}
        if len(members) != len(given.infolist()):
            raise Broken("two of its members have one name")
        for name, member in members.items():  # before reading any
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size != member.compress_size:
                raise Broken(f"{name} is packed, which no export does")
        try:
            header = Told.model_validate_json(_small(given, TOLD))
        except ValidationError:
            raise Broken(f"its {TOLD} says something else than an export does") from None
        seal = Seal.read(_small(given, f"{VERSION}{SEAL}"), header.seal)
        try:
            panel = _files_of(json.loads(_small(given, f"{PANEL}{FACTS}")))
        except (*UNREADABLE, AttributeError):
            raise Broken(f"{PANEL}{FACTS} cannot be read") from None
        sizes = {f"{VERSION}{path}": size for path, (_, size) in seal.files.items()}
        known = {TOLD, f"{VERSION}{SEAL}", *sizes, *(f"{PANEL}{name}" for name in panel)}
        if apart := sorted(known ^ set(members)):
            raise Broken(f"{apart[0]} is {'missing' if apart[0] in known else 'extra'}")
        if changed := next((name for name, size in sizes.items() if members[name].file_size != size), None):
            raise Broken(f"{changed} has another size than its seal says")
        return cls(given, header, seal, panel)

    @property
    def size(self) -> int:
        """The bytes of all members."""
        return sum(member.file_size for member in self.given.infolist())

    def unpack(self, members: Mapping[str, Path]) -> None:
        """Writes members to files."""
        for name, path in members.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.given.open(name) as given, path.open("wb") as taken:
                shutil.copyfileobj(given, taken, BLOCK)


def _taken(parcel: _Parcel, scratch: Path, home: Path) -> Imported:
    """Unpacks into a folder, checks all against seal and digest, keeps the panel, then registers."""
    header, root, panel = parcel.told, scratch / "version", scratch / parcel.told.panel
    check_name(header.name)
    ask_for_room(2 * parcel.size, scratch)  # the version is copied once more
    parcel.unpack({f"{VERSION}{path}": root / path for path in (*parcel.seal.files, SEAL)})
    parcel.unpack({f"{PANEL}{name}": panel / name for name in parcel.panel})
    version = on_disk(root, parcel.seal, header.name, header.version)
    check_served(root, version.folder, servable=True)
    made = version.trained_on
    if version.facts.name != header.name or made.fingerprint["data"] != header.panel:
        raise Broken(f"its {TOLD} is of another version")
    if not is_whole(panel):
        raise Broken("its panel is damaged")
    shelf.put_in_place(panel, _panels(home) / header.panel, scratch / "old")
    shelf.put(_panels(home) / header.panel)
    identity, tags = tags_of(version.facts.variant, made)
    tags |= {"identity": identity, "manifest": version.digest, TAG: header.seal, "imported_version": header.version}
    registered = once(header.name, identity, home, lambda: _registered(version, tags, home))
    return Imported(header, registered, own_code=_code_of(parcel.seal) == {hashlib.sha256(serving.SOURCE).hexdigest()})


def _registered(version: Version, tags: Mapping[str, str], home: Path) -> "ModelVersion":
    """Makes the version, with a run of its own for its scores, which keeps its panel from `prune`."""
    client, made = connection.client(), version.trained_on
    about = {name: tags[name] for name in ("variant", "seed", "imported_version") if name in tags}
    about |= {"kind": KIND, "data": made.fingerprint["data"]}
    run = runs.made_run(runs.experiment(version.name, home), f"import {made.label}", tags["identity"], about)
    logs.log_metrics(run, {name: value for name, value in made.scores.items() if value is not None})
    model = client.create_logged_model(client.get_run(run).info.experiment_id, "model", run)
    client.log_model_artifacts(model.model_id, str(version.root))
    client.finalize_logged_model(model.model_id, "READY")
    words = (version.folder / "card.md").read_text() if (version.folder / "card.md").exists() else ""
    created = version_of(version.name, str(model.model_id), run, tags, words)
    runs.finish(run)
    return created


def _code_of(sealed: Seal) -> set[str]:
    """The sha256 of each code file."""
    return {sha256 for path, (sha256, _) in sealed.files.items() if path.endswith(".py")}


def _panels(home: Path) -> Path:
    return home / "panels"


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, DAY_0)
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    return info


def _small(given: zipfile.ZipFile, name: str) -> bytes:
    """A small member, read whole.  Raises Broken if it is missing or too large."""
    try:
        member = given.getinfo(name)
    except KeyError:
        raise Broken(f"{name} is missing") from None
    if member.file_size > LONGEST_LIST:
        raise Broken(f"{name} is too large")
    return given.read(member)


def _files_of(panel_facts: dict[str, object]) -> tuple[str, ...]:
    """The files of a panel."""
    return (*(f"{name}.npy" for name in arrays_of(panel_facts)), FACTS)
