"""Versions of a name in the MLflow registry: found by alias or version, made from a bundle, one per identity.

The model goes to its run by run id: MLflow's active run is shared between threads and is not used.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.baselines import FITTED_ROWS
from params.errors import UserError
from params.section import owner
from tasks.locks import shared
from tasks.registry import seal
from tasks.tracking import connection

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

CHALLENGER, CHAMPION = "challenger", "champion"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NEEDS = ("mlflow", "torch", "numpy", "pandas")
STATSFORECAST = "statsforecast"


@dataclass(frozen=True)
class Registered:
    """The result of registering: the `version` and whether it is `new`; no version if nothing was registered.

    `why`: why nothing was registered, or what is gone of an older equal version.  `baseline`: its name, if no
    variant beat it and it was registered.
    """

    version: str | None = None
    new: bool = False
    why: str | None = None
    baseline: str | None = None

    def words(self, name: str) -> str:
        """The same as a sentence."""
        if self.version is None:
            return f"Nothing was registered: {self.why or 'neither a variant nor a baseline has a score on validation'}."
        what = f"  It is the baseline {self.baseline}, which no variant beats on validation." if self.baseline else ""
        if self.new:
            sentence = f"Registered as {name} version {self.version}, alias challenger.{what}"
            return f"{sentence}  It was registered before, but {self.why}." if self.why else sentence
        return f"The same {'baseline' if what else 'fit'} is {name} version {self.version} already: no new version.{what}"


def check_name(name: str) -> None:
    """Raises UserError for a name that a run file cannot have."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 64 else name[:61] + "..."
        raise UserError(f"the name {shown!r}: use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit, as in a run file")
    if whose := owner(name):
        raise UserError(f"the name {name!r} is what lagline calls an experiment of {whose!r}: nothing is registered under it")


def parse(reference: str) -> tuple[str, str]:
    """(name, alias or version) from NAME, NAME@ALIAS or NAME@VERSION; default champion.  Raises UserError."""
    name, at, which = reference.partition("@")
    if not NAME.fullmatch(name) or (at and not re.fullmatch(r"[a-z]+|[1-9]\d*", which)):
        raise UserError(f"{reference}: write NAME@champion, NAME@challenger or NAME@3, such as nyc-weather@champion")
    return name, which or CHAMPION


def find(name: str, which: str) -> "ModelVersion | None":
    """The version with an alias or version number, or None."""
    from mlflow.exceptions import MlflowException

    client = connection.client()
    if which.isdecimal() and len(which) > 9:  # no store counts this far, and some fail on it
        return None
    try:
        registered = (
            client.get_model_version(name, which) if which.isdecimal() else client.get_model_version_by_alias(name, which)
        )
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return registered


def needed(name: str, which: str) -> "ModelVersion":
    """Like `find`, but raises UserError, saying what exists, if there is none."""
    registered = find(name, which)
    if registered is None:
        there = connection.client().search_model_versions(f"name = '{name}'")
        numbers = ", ".join(sorted((str(version.version) for version in there), key=int))
        what = f"there are versions {numbers}" if numbers else "nothing is registered under that name: run compare first"
        raise UserError(f"{name}@{which}: there is no such version; {what}")
    return registered


def register(
    bundle_folder: Path, *, name: str, run_id: str, identity: str, tags: Mapping[str, str], home: Path, words: str = ""
) -> Registered:
    """Logs a bundle to its run and makes it a version of `name`; the alias moves last.

    A version with the same identity is not made again, unless its run or a file of it is gone.  The version's
    tags are `tags` (variant, val_mae, ...), `identity`, `manifest` (the bundle's digest) and `seal` (the
    whole folder's); `words` describe it.  `home` holds the lock.  Raises ValueError if the bundle is damaged.
    """
    from models import serving

    serving.check(bundle_folder)
    digest = hashlib.sha256((bundle_folder / "manifest.json").read_bytes()).hexdigest()
    tags = {**tags, "identity": identity, "manifest": digest}
    return once(name, identity, home, lambda: _new_version(bundle_folder, name, run_id, tags, words))


def once(name: str, identity: str, home: Path, make: Callable[[], "ModelVersion"]) -> Registered:
    """The version of an identity as challenger, made if none is complete: one at a time in all homes."""
    from tasks.registry.load import lost

    with shared(home, f"register-{name}"):
        newest = find_version(name, identity)
        why = None if newest is None else lost(newest)
        whole = None if why or (newest and seal.TAG not in newest.tags) else newest  # earlier versions of lagline made no seal
        version = whole or make()
        if CHALLENGER not in version.aliases:
            connection.client().set_registered_model_alias(name, CHALLENGER, version.version)
    return Registered(str(version.version), new=whole is None, why=why)


def find_version(name: str, identity: str) -> "ModelVersion | None":
    """The newest version of a name with an identity, or None."""
    clauses = f"name = '{name}' and tags.identity = '{identity}'"
    hits = connection.client().search_model_versions(clauses, order_by=["version_number DESC"], max_results=1)
    return connection.client().get_model_version(name, hits[0].version) if hits else None  # the search omits the aliases


def _new_version(folder: Path, name: str, run_id: str, tags: Mapping[str, str], words: str) -> "ModelVersion":
    """Logs the model and makes its version."""
    model_id, digest = log_bundle(folder, run_id)
    return version_of(name, model_id, run_id, {**tags, seal.TAG: digest}, words)


def version_of(name: str, model_id: str, run_id: str, tags: Mapping[str, str], words: str) -> "ModelVersion":
    """Makes a logged model's version, with its tags in the same write: it is never without its seal."""
    from mlflow.exceptions import MlflowException

    client = connection.client()
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        name, f"models:/{model_id}", run_id, tags=dict(tags), description=words[:5000] or None, model_id=model_id
    )


class _Sealing:
    """MLflow's pyfunc as a model flavor that seals the folder once it is completely written."""

    def __init__(self) -> None:
        self.digest = ""

    def save_model(self, path: str, validate_serving_input: bool, **how: Any) -> None:
        """MLflow calls this before storing the folder; validation afterwards would write to the folder."""
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(path=path, **how)
        self.digest = seal.write(Path(path))


def log_bundle(folder: Path, run_id: str) -> tuple[str, str]:
    """Logs a bundle as a sealed pyfunc model of a run, without pickle; returns the model's id and digest."""
    with warnings.catch_warnings():  # MLflow warns about its own type hint
        warnings.filterwarnings("ignore", message=".*type hint is inferred as AnyType")
        import mlflow.pyfunc  # noqa: F401
    from mlflow.models import Model

    from tasks.registry.facts import BundleFacts  # torch

    (code,) = folder.glob("code/*.py")
    frame, bundle = example_frame(folder), BundleFacts.read((folder / "model.json").read_bytes())
    libraries = {name: number for one in bundle.code for name, number in one.libraries.items()}
    client = connection.client()
    run = client.get_run(run_id)  # otherwise the model would land in the active experiment
    model, sealing = client.create_logged_model(run.info.experiment_id, "model", run_id, params=run.data.params), _Sealing()
    Model.log(
        artifact_path=None,
        model_id=model.model_id,
        flavor=sealing,
        flavor_name="pyfunc",
        validate_serving_input=False,
        run_id=run_id,
        loader_module=code.stem,
        data_path=str(folder),
        code_paths=[str(code)],
        signature=signature(folder, list(frame.columns)),
        input_example=frame,
        pip_requirements=requirements(bundle.needed, libraries),
    )
    return str(model.model_id), sealing.digest


def requirements(baselines: Collection[str], libraries: Mapping[str, str]) -> list[str]:
    """The packages needed by a version that forecasts with some baselines, as pip requirements.

    `libraries`: the versions of those that code from outside imports."""
    more = (STATSFORECAST,) if {*baselines} & {*FITTED_ROWS} else ()
    versions = {name.lower(): number for name, number in libraries.items()}
    versions |= {package: installed(package) for package in (*NEEDS, *more)}
    return [f"{package}=={number.split('+')[0]}" for package, number in versions.items()]


def example_frame(folder: Path) -> "pd.DataFrame":
    """A bundle's example as a long frame."""
    import pandas as pd

    return pd.DataFrame(**json.loads((folder / "example.json").read_text()))


def signature(folder: Path, columns: list[str]) -> "ModelSignature":
    """The long frame's columns in, a forecast's columns out, and the options: other intervals, and quantiles.

    Series, time and target may have the run's own names.

    MLflow refuses whole numbers in `double` or `string` columns and zones in `datetime` ones, all common in a
    long frame.  So it checks only names, and the bundle's own code the types, naming series and column.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    bundle = json.loads((folder / "model.json").read_text())
    time = DataType.long if isinstance(bundle["frequency"], int) else DataType.datetime
    anything: Any = AnyType  # without types
    named = [[name] if isinstance(name, str) else name or [] for name in bundle["columns"].values()]
    keys = dict.fromkeys(("unique_id", "ds", "y", *(name for names in named for name in names)))
    inputs: list[Any] = [ColSpec(anything(), name, required=name not in keys) for name in dict.fromkeys((*columns, *keys))]
    kinds = {"unique_id": DataType.string, "cutoff": time, "ds": time, "model": DataType.string}
    names = ("unique_id", "cutoff", "ds", "yhat", "yhat-lo-90", "yhat-hi-90", "model")
    outputs: list[Any] = [ColSpec(kinds.get(name, DataType.double), name) for name in names]
    some = (-1,)  # any number of them
    asked = [ParamSpec("levels", DataType.double, [90.0], some), ParamSpec("quantiles", DataType.double, [], some)]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(asked))
