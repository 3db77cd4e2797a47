"""The schema of a fit in model.json: numbers, place and fingerprint (`schema.py` has the rest)."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.baselines import BASELINES
from models.data.window import WindowParams
from models.families import FAMILIES
from models.fit.job import is_baseline
from models.fit.settings import Measure, Training
from params.load import ENSEMBLE
from params.resources import ResourcesKept
from params.schema import can_be_built
from params.section import MOST, MOST_FOLDS, MOST_ROWS, OUTSIDE, TARGET, Name, Share, Text, Threads
from tasks.registry.seal import Digest

SIZE = 10**7  # the most samples, steps or units in a network

Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Rows = Annotated[int, Field(ge=0, le=MOST_ROWS)]
Some = Annotated[int, Field(ge=1, le=MOST_ROWS)]
Size = Annotated[int, Field(ge=1, le=SIZE)]
Float = Annotated[float, Field(ge=-1e300, le=1e300)]
Above = Annotated[float, Field(gt=0, le=MOST)]
Border = Int64 | dict[str, Int64]
Picks = Annotated[int, Field(ge=0, le=1000)]  # picks of a member
Counts = Annotated[list[Picks], Field(max_length=1000)]
Quantiles = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(max_length=1000)]
HalfWidths = list[Annotated[float, Field(ge=0, le=1e300)] | None]
Word = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,200}$")]  # printable
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
Installed = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+_-]{1,64}$")]  # a package version
Device = Annotated[str, StringConstraints(pattern=r"^(cpu|mps|cuda)( [ -~]{1,200})?$")]
Outside = Annotated[str, StringConstraints(pattern=f"^{TARGET}$", max_length=200)]
OutsideBaseline = Annotated[str, StringConstraints(pattern=f"^{OUTSIDE}{TARGET}$", max_length=250)]
OwnFile = Annotated[str, StringConstraints(pattern=r"^\w+(/\w+)*\.py$", max_length=500)]  # of code from outside
File = Annotated[str, StringConstraints(pattern=r"^(flows|tasks|models|params)(/\w[\w.-]*)+$", max_length=500)]


def _known(family: str) -> str:
    if family not in (there := (*FAMILIES, ENSEMBLE, *BASELINES)) and not re.fullmatch(f"({OUTSIDE})?{TARGET}", family):
        raise ValueError(f"no family of this lagline; there are: {', '.join(there)}")
    return family


Family = Annotated[str, AfterValidator(_known)]
Network = Annotated[dict[Text, bool | int | float | Word], AfterValidator(can_be_built)]


class Told(BaseModel):
    """A part of a version's content, with strict types.  Unknown keys come from a newer lagline."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class Exactly(Told):
    """A part whose keys must all be known."""

    model_config = ConfigDict(extra="forbid")


class FeatureTold(Exactly):
    """The window of a feature."""

    lookback: Size
    sampling_rate: Some = 1
    delay: Rows = 0


class ChannelTold(FeatureTold):
    """The window of a feature, with its name."""

    name: Text


class WindowsTold(Exactly):
    """What a network sees and forecasts."""

    horizon: Size
    features: Annotated[dict[Text, FeatureTold], Field(min_length=1)]
    gap: Rows = 0
    stride: Some = 1
    calendar: list[Text]
    future: list[Text]
    static: dict[Text, Literal["numeric", "categorical"]] = Field(default_factory=dict)
    max_missing_share: Share = 1.0
    start_index: Rows = 0
    end_index: Rows | None = None
    start_padding: Rows = 0
    wide: list[Text] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        WindowParams.from_dict(self.model_dump())
        return self


class SplitTold(Exactly):
    """Where validation and test begin."""

    by: Literal["time", "rows"]
    validation: Int64
    test: Int64
    embargo: Rows = 0


class ScalingTold(Exactly):
    """How a network's inputs are scaled."""

    per: Literal["series", "global"]
    window: Literal["none", "last", "mean", "revin"]
    method: Literal["standard", "robust"] = "standard"
    target: Literal["none", "log1p", "asinh"] = "none"


class TrainingTold(Exactly):
    """The settings of the training loop."""

    max_epochs: Some
    patience_epochs: Some
    batch_size: Some
    learning_rate: Above
    weight_decay: Annotated[float, Field(ge=0, le=MOST)]
    clip_norm: Above
    loss: Literal["mae", "mse", "huber"] | Outside
    variant: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    micro_batches: Some = 1
    max_steps: Some | None = None
    max_seconds: Above | None = None
    stop_step: Rows | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    monitor: Literal["mae", "loss"] = "mae"
    average_epochs: Annotated[float, Field(ge=0, le=1000)] = 0.0
    refit_epochs: Rows | None = None
    refit_penalty: Annotated[float, Field(ge=0, le=MOST)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        Training(**self.model_dump())
        return self


class ArgumentsTold(Exactly):
    """A baseline's arguments."""

    season: Annotated[int, Field(ge=1, le=SIZE)]
    rows: Some | None = None

    @model_validator(mode="after")
    def _left_out(self) -> Self:
        if self.rows is None and "rows" in self.model_fields_set:
            raise ValueError("rows: leave it out where a fit gets all rows")
        return self


def arguments_fit(family: str, network: dict[str, Any]) -> None:
    """Raises ValueError if a baseline has unsuitable arguments."""
    if is_baseline(family):
        try:
            ArgumentsTold.model_validate(network)
        except ValidationError as error:
            raise ValueError(f"network: {first_fault(error)}") from None


class GreedyTold(Exactly):
    """What weights are learnt by."""

    measure: Measure
    season: Size
    lowest: Float | None = None
    highest: Float | None = None
    integer: bool = False
    others: Annotated[list[SplitTold], Field(max_length=MOST_FOLDS)]
    stops: Annotated[list[Rows | None], Field(max_length=100_000)] = Field(default_factory=list)


class CodeTold(Exactly):
    """Code from outside this repository, by its content."""

    files: Annotated[dict[OwnFile, Digest], Field(min_length=1, max_length=10_000)]
    libraries: Annotated[dict[Installed, Installed], Field(max_length=1000)] = Field(default_factory=dict)


class OutsideTold(CodeTold):
    """The same with what it is called; where it lies, only a local run file says."""

    target: Outside
    root: Literal[""] = ""


class MemberTold(Exactly):
    """The numbers of a fit or baseline, possibly a member of an ensemble."""

    family: Family
    network: Network
    windows: WindowsTold
    split: SplitTold | None
    scaling: ScalingTold
    training: TrainingTold
    evaluation_stride: Some
    quantiles: Quantiles
    point: Literal["median", "mean"] | None = None
    members: Annotated[list["MemberTold"], Field(max_length=1000)] = Field(default_factory=list)
    combine: Literal["median", "mean"] = "median"
    greedy: GreedyTold | None = None
    counts: Counts = Field(default_factory=list)
    resources: ResourcesKept = ResourcesKept()
    outside: Annotated[list[OutsideTold], Field(max_length=10)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.family == ENSEMBLE) != bool(self.members):
            raise ValueError(f"family: {ENSEMBLE} is what has members, and no other")
        if (self.greedy or self.counts) and (self.combine != "mean" or len(self.counts) not in (0, len(self.members))):
            raise ValueError("counts: one for each member of an ensemble that is a mean")
        arguments_fit(self.family, self.network)
        return self


class JobTold(MemberTold):
    """A version's job, which says once for all members where it ran."""

    threads: Threads
    device: Annotated[str, StringConstraints(pattern=r"^(cpu|mps|cuda(:\d{1,3})?)$")]
    save_every: Above = 1.0


class DeterminismTold(Told):
    """What makes a fit repeatable."""

    algorithms: bool
    threads: Threads


class FingerprintTold(Told):
    """A fingerprint; all of it is shown to people, some as a command, and `data` names a folder."""

    identity: Digest
    data: Digest
    numbers: MemberTold
    code: Digest
    code_rule: Annotated[int, Field(ge=1, le=1000)] = 1
    torch: Installed
    statsforecast: Installed | None = None
    outside: Annotated[dict[Outside, CodeTold], Field(max_length=1000)] = Field(default_factory=dict)
    python: Installed
    device: Device
    revision: Revision | None
    clean: bool
    changed: Annotated[dict[File, Revision], Field(max_length=10_000)] = Field(default_factory=dict)
    lock: Digest | None
    deterministic: DeterminismTold


def first_fault(error: ValidationError) -> str:
    """The place, the value (as text without control characters) and the reason of the first fault."""
    fault = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in fault["loc"])
    value, whole = ascii(fault["input"]), isinstance(fault["input"], dict | list | BaseModel)
    shown = "" if whole else f" is {value if len(value) <= 60 else value[:60] + '...'}"
    return f"{where}{shown}: " * bool(where) + str(fault["msg"]).removeprefix("Value error, ")
