"""The schema of model.json and its neighbours in a bundle: types, ranges and forms, checked before use.

They come from a registry that others may write to, so their content is data: a revision is not a command, a
digest not a path.
"""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from models.baselines import BASELINES
from models.fit.job import is_baseline
from models.serving import OLD_INPUTS
from params.evaluation import Baseline, Naive, OwnBaseline
from params.load import ENSEMBLE
from params.schema import RunParams
from params.section import Name, Text, zone_name
from tasks.registry.schema_fit import (
    SIZE,
    ArgumentsTold,
    Border,
    ChannelTold,
    Counts,
    Exactly,
    Family,
    FingerprintTold,
    Float,
    HalfWidths,
    Int64,
    JobTold,
    Network,
    OutsideBaseline,
    OutsideTold,
    Picks,
    Quantiles,
    Rows,
    Told,
    WindowsTold,
    Word,
    arguments_fit,
    first_fault,
)
from tasks.registry.seal import Digest

SPAN = r"^[1-9]\d{0,8}(s|m|h|d|bd|w|mo|q|y)$"


def _run(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("evaluation"), dict):
        raise ValueError("evaluation: it has no such section")
    try:
        RunParams.stored(value)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
    return value


def _a_date(text: str) -> str:
    if str(date.fromisoformat(text)) != text:
        raise ValueError("no date such as 2024-12-25")
    return text


class BaselineTold(Exactly):
    """A baseline that a version also forecasts with."""

    name: Baseline | OutsideBaseline
    arguments: ArgumentsTold


class CalibrationTold(Exactly):
    """How a model's intervals are made (`models/serving.py::Calibration`)."""

    method: Text  # includes a column name if it groups series by one
    scores: dict[Text, Float | None]
    levels: Annotated[Quantiles, Field(min_length=2)]
    offsets: Annotated[list[list[list[Float | None]]], Field(min_length=1)]
    units: list[Annotated[float, Field(ge=0, le=1e300)]]
    groups: list[Rows]
    own: bool
    transform: Literal["none", "log1p", "asinh"]
    season: Annotated[int, Field(ge=1, le=SIZE)]
    ratio: Annotated[float, Field(ge=0, le=1e300)] | None
    latest: list[Annotated[float, Field(ge=0, le=1e300)]] | None

    def check(self, where: str, series: int, horizon: int) -> None:
        """Raises ValueError if its sizes do not match the version."""
        if {len(self.units), len(self.groups), len(self.units if self.latest is None else self.latest)} != {series + 1}:
            raise ValueError(f"{where}calibration: one unit and one group for each series and one more")
        if max(self.groups) >= len(self.offsets) or sorted({*self.levels}) != self.levels:
            raise ValueError(f"{where}calibration: there are {len(self.offsets)} groups, and levels rise")
        if any(len(group) != horizon or {*map(len, group)} != {len(self.levels)} for group in self.offsets):
            raise ValueError(f"{where}calibration.offsets: one for each of {horizon} steps and {len(self.levels)} levels")


class FallbackTold(BaselineTold):
    """What forecasts a series that the version itself cannot; an older one has half widths."""

    name: Baseline
    half_widths: HalfWidths | None = None
    calibration: CalibrationTold | None = None


class CombinedTold(Exactly):
    """What is combined with the graph's outputs, an ensemble's other members."""

    how: Literal["median", "mean"]
    baselines: Annotated[list[BaselineTold], Field(min_length=1, max_length=1000)]
    counts: Counts = Field(default_factory=list)


class RefitTold(Told):
    """The fit trained again on all rows."""

    job: JobTold
    weights: Digest
    fingerprint: FingerprintTold
    identity: Digest
    seen_until: Border


class TrainedOnTold(Told):
    """What a version was trained on; what an older lagline left out is in `BundleFacts.lacks`."""

    job: JobTold | None = None
    run: Annotated[dict[str, Any], AfterValidator(_run)] | None = None
    weights: Digest | None = None
    fingerprint: FingerprintTold | None = None
    unseen_from: Border | None = None
    naive: Naive | None = None
    baseline: Baseline | OwnBaseline | Literal[""] = ""
    bar_code: Annotated[list[OutsideTold], Field(max_length=10)] = Field(default_factory=list)
    newest: Int64 | None = None
    newest_time: Word | None = None
    scores: dict[Word, Float | None] = Field(default_factory=dict)
    name: Name | Literal[""] = ""
    label: Word = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    checks: Literal["", "passed", "failed"] = ""
    stop_step: Rows | None = None
    stop_steps: list[Rows | None] = Field(default_factory=list)
    refit: RefitTold | None = None
    counts: Annotated[dict[Word, Picks], Field(max_length=1000)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        ranges = 1 + len(self.job.greedy.others) if self.job and self.job.greedy else 1
        if self.job and self.stop_steps and len(self.stop_steps) != ranges * len(self.job.members):
            raise ValueError("stop_steps: one for each member of the job in each validation range that it learns from")
        if self.job and len(self.counts) != (len(self.job.members) if self.job.greedy else 0):
            raise ValueError("counts: one for each member of a job that learns them, and none for another")
        if self.job and self.job.split is None:
            raise ValueError("job.split: what is judged was trained on a split")
        if self.run and self.naive and self.naive not in self.run["evaluation"]["baselines"]:
            raise ValueError("naive: it is none of the run's baselines")
        if self.run and self.baseline and self.baseline not in (*BASELINES, *self.run.get("baselines", {})):
            raise ValueError("baseline: it is none of ours, and none that the run names")
        return self


class FactsTold(Told):
    """model.json."""

    layout: Literal[1]
    name: Name
    variant: Name
    family: Family
    network: Network
    windows: WindowsTold
    channels: Annotated[list[ChannelTold], Field(min_length=1)]
    level: Literal["none", "last", "mean", "revin"]
    quantiles: Quantiles
    ids: Annotated[list[str], Field(min_length=1, max_length=SIZE)]
    frequency: Annotated[int, Field(ge=1, lt=2**62)] | Annotated[str, StringConstraints(pattern=SPAN)]
    forward_fill: Rows
    categories: dict[Text, list[str]]
    columns: dict[Literal["unique_id", "ds", "y"], str | list[str] | None]
    half_widths: HalfWidths | None = None
    calibration: CalibrationTold | None = None
    inputs: dict[Text, Annotated[str, StringConstraints(pattern=r"^(float32|float64|int64)$")]] = Field(default=OLD_INPUTS)
    zone: Annotated[str, AfterValidator(zone_name)] | None = None
    holidays: Annotated[list[Annotated[str, AfterValidator(_a_date)]], Field(max_length=100_000)] = Field(default_factory=list)
    fallbacks: Annotated[list[FallbackTold], Field(max_length=len(BASELINES))] = Field(default_factory=list)
    combined: CombinedTold | None = None
    trained_on: TrainedOnTold

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        names = [model.name for model in self.fallbacks]
        models: list[tuple[str, Any]] = [("", self), *((f"fallbacks.{model.name}.", model) for model in self.fallbacks)]
        for where, model in models:
            if model.calibration is not None:
                model.calibration.check(where, len(self.ids), self.windows.horizon)
                if model.calibration.own and (where or not {*model.calibration.levels} <= {*self.quantiles}):
                    raise ValueError(f"{where}calibration.own: the model has no quantiles of these levels")
            elif model.half_widths is None or len(model.half_widths) != self.windows.horizon:
                raise ValueError(f"{where}half_widths: one for each of {self.windows.horizon} steps")
        if len({*names, self.family}) <= len(names):
            raise ValueError("fallbacks: each is named once, and none is the version itself")
        return self

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        arguments_fit(self.family, self.network)
        if is_baseline(self.family) == bool(self.inputs):
            raise ValueError("inputs: a graph takes some, and a baseline has no graph")
        if self.combined and self.family != ENSEMBLE:
            raise ValueError(f"combined: {ENSEMBLE} is what has members, and no other")
        return self


class ChecksTold(Told):
    """checks.json: the gate reads only this word of it."""

    passed: bool


class ExampleTold(Exactly):
    """example.json: a long frame as columns and rows."""

    columns: Annotated[list[Text], Field(min_length=1)]
    data: Annotated[list[list[bool | int | float | str | None]], Field(min_length=1, max_length=SIZE)]

    @model_validator(mode="after")
    def _even(self) -> Self:
        if any(len(row) != len(self.columns) for row in self.data):
            raise ValueError("data: a row has other columns")
        return self


SCHEMAS: dict[str, type[Told]] = {"model.json": FactsTold, "checks.json": ChecksTold, "example.json": ExampleTold}


def check_told(name: str, content: bytes) -> None:
    """Checks a bundle file's content by its schema.  Raises ValueError that names file, key and value."""
    try:
        SCHEMAS[name].model_validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{name}: {first_fault(error)}") from None
