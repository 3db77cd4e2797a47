"""The schema of a run file: names, types, ranges and how the sections fit together.

Every section is a frozen pydantic model that rejects unknown keys and never converts types silently.
Durations are written as in polars (`15m`, `1h`, `28d`, `1w`, `1mo`); row counts and time steps are integers.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.data.window import AHEAD, HOLIDAY, FeatureWindow, WindowParams, calendar_channels
from params.data import DataParams
from params.evaluation import BASELINES, EvaluationParams, OwnBaseline, PromotionParams
from params.resources import ResourceParams
from params.search import Dimension
from params.section import (
    DURATION,
    KEYS,
    MOST,
    MOST_FOLDS,
    MOST_SECONDS,
    OUTSIDE,
    RESERVED,
    SECONDS,
    Border,
    Name,
    NonNegative,
    Positive,
    Section,
    Share,
    Span,
    Target,
    Text,
    Threads,
    as_tuple,
    rough_seconds,
)

RENAMED = {  # former keys, by section, and what to write today
    "evaluation": {"baseline_seconds": "evaluation.baseline_origins: auto, or how many origins theta and auto_ets forecast"},
}
MOST_SAMPLES = 10_000  # per window, or steps ahead: networks of this size are built before data are read
MOST_SIZE, MOST_LAYERS = 10**6, 100  # a network's numeric argument; one that counts its parts (num_...)
FARTHEST = 5_000  # years that a forecast may reach ahead: dates end in year 9999
Severity = Literal["fail", "warn"]
LOSSES = ("mae", "mse", "huber")


Level = Annotated[float, Field(gt=0, lt=1)]
QUANTILES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
Quantiles = Annotated[tuple[Level, ...], BeforeValidator(as_tuple), Field(max_length=99)]
NetworkValue = bool | int | float | str


class FeatureParams(Section):
    """The window of one feature, in samples (`lookback`) and rows (`sampling_rate`, `delay`)."""

    lookback: Annotated[int, Field(ge=1, le=MOST_SAMPLES)]  # how many samples a network sees
    sampling_rate: Annotated[int, Field(ge=1, le=10**6)] = 1  # rows from one sample to the next
    delay: Annotated[int, Field(ge=0, le=10**6)] = 0  # rows by which a value becomes known late


class WindowsParams(Section):
    """What a network sees (each feature has its own window) and what it forecasts."""

    horizon: Annotated[int, Field(ge=1, le=MOST_SAMPLES)]  # steps to forecast
    gap: Annotated[int, Field(ge=0, le=10**6)] = 0  # rows between the cutoff and the first step forecast
    stride: Positive = 1  # rows from one training window to the next
    features: Annotated[dict[Text, FeatureParams], Field(min_length=1)]  # the columns that networks see, y included
    calendar: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    future: Annotated[tuple[Text, ...], BeforeValidator(as_tuple)] = ()
    static: dict[Text, Literal["numeric", "categorical"]] = Field(default_factory=dict)
    forward_fill: NonNegative
    start_padding: Annotated[int, Field(ge=0, le=10**6)] = 0
    max_missing_share: Share = 1.0

    @field_validator("features", "future", "static")
    @classmethod
    def _not_reserved(cls, value: Any, info: ValidationInfo) -> Any:
        for name in value:
            if name == "unique_id" and info.field_name == "static":
                continue  # the series' own name as a category
            if name in RESERVED:
                raise ValueError(f"{name!r} is a key of every table and cannot be a covariate: rename the column")
            if name == "y" and info.field_name != "features":
                raise ValueError("y is the target: it is neither known ahead nor constant")
        if len(set(value)) < len(value):
            raise ValueError("a column is named twice")
        return value

    @field_validator("static")
    @classmethod
    def _names_are_categories(cls, value: dict[str, str]) -> dict[str, str]:
        if value.get("unique_id") == "numeric":
            raise ValueError("unique_id is a name: write unique_id: categorical")
        return value

    @field_validator("calendar")
    @classmethod
    def _known_calendar(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            calendar_channels(name)
        if len(set(value)) < len(value):
            raise ValueError("a calendar feature is named twice")
        return value

    @model_validator(mode="after")
    def _pads_no_whole_window(self) -> Self:
        reach = max(feature.delay + feature.sampling_rate * (feature.lookback - 1) for feature in self.features.values())
        if self.start_padding > reach:
            raise ValueError(f"start_padding: {self.start_padding} rows leave a window without any row: at most {reach}")
        return self

    @model_validator(mode="after")
    def _names_apart(self) -> Self:
        channels = {channel for name in self.calendar for channel in calendar_channels(name)}
        clash = channels & {*self.features, *self.future, *self.static}
        if clash:
            raise ValueError(f"features: {', '.join(sorted(clash))} is what the calendar makes itself: rename the column")
        for name in self.future:
            if name + AHEAD in self.features:
                raise ValueError(f"features: {name + AHEAD!r} is what {name!r} is called ahead: rename the column")
        both = set(self.static) & {*self.features, *self.future}
        if both:
            names = ", ".join(sorted(both))
            raise ValueError(f"static: {names} is constant for a series, and so no feature and not known ahead")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the windows read besides the target and the keys, each once."""
        names = (*self.features, *self.future, *self.static)
        return tuple(dict.fromkeys(name for name in names if name not in ("y", "unique_id")))

    def window_params(self) -> WindowParams:
        """The same as the frozen dataclass of `models/`."""
        features = {k: FeatureWindow(v.lookback, v.sampling_rate, v.delay) for k, v in self.features.items()}
        return WindowParams(
            self.horizon,
            features,
            self.gap,
            self.stride,
            self.calendar,
            self.future,
            self.static,
            self.max_missing_share,
            start_padding=self.start_padding,
        )


class SplitParams(Section):
    """How much is kept for validation and test, counted back from the end, or the dates at which they begin.

    A duration or a date cuts all series at the same time; a row count is taken from the end of each series.
    `folds`: validation ranges as long as `validation`, which is the last; every model is trained for each.
    """

    validation: Border  # how much chooses; a date: where it begins
    test: Border  # how much is scored in the end, after validation
    embargo: Span = 0  # rows before each border that are nobody's target
    folds: Annotated[int, Field(ge=1, le=MOST_FOLDS)] = 1  # validation ranges, one before the other

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        def kind(value: str | int) -> str:
            return "rows" if isinstance(value, int) else "duration" if DURATION.match(value) else "date"

        if kind(self.validation) != kind(self.test):
            raise ValueError("validation and test must both be durations, both row counts or both dates")
        for name in ("validation", "test"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must not be empty")
        if kind(self.test) == "date" and str(self.validation) >= str(self.test):
            raise ValueError("validation must begin before test")
        return self


class ValidationParams(Section):
    """What the data checks tolerate, and what happens beyond that."""

    max_gap_share: Share
    max_null_share: Share
    on_null_feature: Literal["drop", "fail", "warn"]
    on_duplicates: Literal["fail", "keep_first"] = "fail"
    on_short_series: Literal["drop", "fail"]
    on_constant_target: Severity
    fresh_within: Span | None = None
    ranges: dict[Text, Annotated[tuple[float, float], BeforeValidator(as_tuple)]] = Field(default_factory=dict)
    data_docs: bool = False  # also the pages of Great Expectations

    @field_validator("ranges")
    @classmethod
    def _low_to_high(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if low > high:
                raise ValueError(f"{name}: the lower end {low} lies above the upper end {high}")
        return value


class ScalingParams(Section):
    """How a forecaster scales: statistics of the training rows, `per` series or all, after a `target`
    transform; then each `window` by its own last value, mean, or mean and standard deviation of y."""

    per: Literal["series", "global"]
    method: Literal["standard", "robust"] = "standard"
    window: Literal["none", "last", "mean", "revin"]
    target: Literal["none", "log1p", "asinh"] = "none"


class TrainingParams(Section):
    """The training loop; the same for every variant unless its own file says otherwise.

    The budget is `max_epochs` and, if given, `max_steps` (optimizer) and `max_seconds`, whichever ends first.
    `micro_batches`: parts of a batch, with equal gradients; auto: `rules/micro_batches.yaml`.
    `monitor`: what picks the best epoch on validation: the MAE in raw units, or the loss of the point
    forecast, in scaled units, where series of any size count alike.
    `average_epochs`: validate and keep the mean of the weights over about so many epochs; 0: of one step.
    `refit`: all: the chosen variant is retrained on all rows, for the epochs that validation chose.
    `quantiles`: levels forecast besides the point; none: only those of the residuals.
    `point`: the forecast is the median or mean of these; null: a separate output, trained by `loss`.
    `resources`: of one fit; no effect on its result.
    """

    seeds: Annotated[int, Field(ge=1, le=1000)]  # fits of each variant
    max_epochs: Annotated[int, Field(ge=1, le=10**6)]  # passes over the training windows
    max_steps: Positive | None = None
    max_seconds: Annotated[float, Field(gt=0, le=MOST_SECONDS)] | None = None
    micro_batches: Positive | Literal["auto"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    patience_epochs: Positive  # epochs without a better validation error that end a fit
    batch_size: Annotated[int, Field(ge=1, le=10**6)]  # windows of one optimizer step
    learning_rate: Annotated[float, Field(gt=0, le=MOST)]  # of AdamW
    weight_decay: Annotated[float, Field(ge=0, le=MOST)]  # of AdamW
    clip_norm: Annotated[float, Field(gt=0, le=MOST)]  # the largest norm of a gradient
    loss: Literal["mae", "mse", "huber"] | Name
    monitor: Literal["mae", "loss"] = "mae"
    average_epochs: Annotated[float, Field(ge=0, le=1000)] = 0.0
    threads: Threads
    refit: Literal["all"] | None = None
    quantiles: Quantiles = QUANTILES
    point: Literal["median", "mean"] | None = None
    resources: ResourceParams = ResourceParams()  # of a machine, for one fit

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("write the quantiles in rising order, each once, such as [0.05, 0.5, 0.95]")
        return value


def can_be_built(value: dict[str, NetworkValue]) -> dict[str, NetworkValue]:
    """The arguments of a network.  Raises ValueError for one too large to try."""
    for name, size in value.items():
        most = MOST_LAYERS if name.startswith("num_") else MOST_SIZE
        if not isinstance(size, str) and abs(size) > most:
            raise ValueError(f"{name}: at most {most:,}, not {size:g}")
    return value


NetworkArguments = Annotated[dict[str, NetworkValue], AfterValidator(can_be_built)]


class RunParams(Section):
    """A whole run file, merged over `base.yaml` and overridden by `--set`."""

    name: Name  # of the experiment and the model: small letters, digits, . _ -
    data: DataParams  # where the table is
    windows: WindowsParams  # what a network sees and forecasts
    split: SplitParams  # what validates and what tests
    validation: ValidationParams  # what the data checks tolerate
    variants: Annotated[tuple[Name, ...], BeforeValidator(as_tuple), Field(min_length=1)]  # what is compared
    scaling: ScalingParams  # how values are scaled for networks
    network: NetworkArguments = Field(default_factory=dict)  # for every network that takes them
    training: TrainingParams  # the training loop
    evaluation: EvaluationParams  # how models are scored
    promotion: PromotionParams  # what a challenger must achieve
    families: dict[Name, Target] = Field(default_factory=dict)  # networks of your own: name: module:Class
    metrics: dict[Name, Target] = Field(default_factory=dict)  # measures of your own, shown: name: module:function
    losses: dict[Name, Target] = Field(default_factory=dict)  # losses of your own, for training.loss: name: module:function
    baselines: dict[OwnBaseline, Target] = Field(default_factory=dict)  # baselines of your own: name: module:function

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """The levels at which every model's distribution is calibrated: those of its networks, if any."""
        return self.training.quantiles or QUANTILES

    def baseline_family(self, name: str) -> str:
        """The family of a baseline of this run: its name, or what its code from outside is called."""
        return f"{OUTSIDE}{self.baselines[name]}" if name in self.baselines else name

    @classmethod
    def stored(cls, raw: Mapping[str, Any]) -> Self:
        """The run stored with a version, which may predate today's keys."""
        evaluation = {key: value for key, value in raw["evaluation"].items() if key not in RENAMED["evaluation"]}
        return cls(**{**raw, "evaluation": evaluation})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants: a variant is named twice")
        if unknown := next((name for name in self.evaluation.baselines if name not in (*BASELINES, *self.baselines)), None):
            known_baselines = ", ".join((*BASELINES, *self.baselines))
            raise ValueError(f"evaluation.baselines: {unknown!r} is not one of {known_baselines}")
        if taken := {*BASELINES, *self.variants, *KEYS} & {*self.baselines}:
            raise ValueError(f"baselines: {', '.join(sorted(taken))} is the name of something else: use another one")
        if taken := {*LOSSES} & {*self.losses}:
            raise ValueError(f"losses: {', '.join(sorted(taken))} is a loss of lagline itself: use another name")
        if self.training.loss not in (known := (*LOSSES, *self.losses)):
            raise ValueError(f"training.loss: {self.training.loss!r} is not one of {', '.join(known)}")
        named = {"data.id": self.data.ids, "data.time": self.data.times, "data.target": (self.data.target,)}
        keys = [(key, name) for key, names in named.items() for name in names]
        for (key, name), (other, same) in combinations(keys, 2):
            if name == same:
                both = f"{key} and {other} both name" if key != other else f"{key} twice names"
                raise ValueError(f"{both} the column {name!r}: give each a column of its own")
        for section in ("features", "future", "static"):
            self._check_roles(section, {*getattr(self.windows, section)} - {"y" if section == "features" else "unique_id"})
        self._check_reach()
        if HOLIDAY in self.windows.calendar and not self.data.holidays:
            raise ValueError("windows.calendar: holiday needs data.holidays: a list of dates, or a country such as DE")
        if isinstance(self.data.frequency, int):
            if self.windows.calendar:
                raise ValueError("windows.calendar: integer time steps have no calendar")
            for name in ("validation", "test", "embargo"):
                if isinstance(getattr(self.split, name), str):
                    raise ValueError(f"split.{name}: with integer time steps give a number of rows")
            if self.validation.fresh_within is not None:
                raise ValueError("validation.fresh_within: integer time steps have no age; take it out")
        return self

    def _check_roles(self, section: str, columns: set[str]) -> None:
        """Checks that no covariate is a key; one of several id columns may be a category of its series."""
        static, ids = section == "static", {*self.data.ids}
        clash = columns & {*self.data.times, *(() if static and len(ids) > 1 else ids)}
        if clash:
            name = " (as a category of its own it is unique_id)" if static else ""
            raise ValueError(f"windows.{section}: {', '.join(sorted(clash))} is the id or time column{name}")
        if self.data.target in columns:
            raise ValueError(
                f"windows.{section}: the target {self.data.target!r} is called y in windows.features: take it out here "
                f"(python -m flows init DATA --target writes a file for another target)"
            )

    def _check_reach(self) -> None:
        """Checks that a forecast does not reach beyond what a time can represent."""
        step, ahead = self.data.frequency, self.windows.gap + self.windows.horizon
        if isinstance(step, int) and step * ahead > 2**62:
            raise ValueError(f"windows.horizon: {ahead:,} steps of {step} are more than a whole number holds")
        if isinstance(step, str) and rough_seconds(step) * ahead > FARTHEST * SECONDS["y"]:
            raise ValueError(f"windows.horizon: {ahead:,} steps of {step} reach more than {FARTHEST:,} years ahead")


class VariantParams(Section):
    """One variant: `params/variants/<name>.yaml` merged over the run; `network`: its constructor's arguments.

    `shared`: arguments that the run gives to all variants, for families that take them.  `members`: of an
    ensemble, the variants whose fits (all seeds) it combines, and baselines, whose `family` is their name.
    `search`: what `tune` may change, by key.  `draws_as`: the name that seeds its random numbers, if another.
    `greedy`: the members are all of the run's, with weights learnt on validation.
    """

    variant: Name
    family: Text
    about: Text
    network: dict[str, NetworkValue]
    shared: frozenset[str]
    run: RunParams
    members: tuple["VariantParams", ...] = ()
    combine: Literal["median", "mean"] = "median"
    search: dict[str, Dimension] = Field(default_factory=dict)
    draws_as: Name | None = None
    greedy: bool = False
