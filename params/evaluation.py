"""How models are evaluated and compared, and what a challenger must achieve."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from params.section import MOST_SECONDS, Positive, Section, Share, Text, as_tuple

Naive = Literal["last_value", "drift", "seasonal_naive"]
Baseline = Literal[Naive, "naive2", "theta", "auto_ets"]
BASELINES = get_args(Baseline)


def _is_own(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", value):  # no -, which marks what belongs to a model: forest-lo-90
        raise ValueError("a baseline of your own is called by 1 to 64 of a-z 0-9 _, and begins with a letter")
    return value


OwnBaseline = Annotated[str, AfterValidator(_is_own)]  # of `baselines` in the run file
Measure = Literal["mae", "mase", "owa", "rmsse", "mae_scaled", "mse_scaled"]
LEVELS = (80, 90, 95)  # percent
# as tasks/calibrate/methods.py names them
INTERVALS = r"auto|(split|naive|spread|cqr(-naive|-spread)?)(-by-.+?)?(-even)?(-log1p|-asinh)?"
Percent = Annotated[int, Field(ge=1, le=99)]


class EvaluationParams(Section):
    """Rolling origins and baselines.

    `season`: of the baselines and MASE.  `baseline_origins`: how many origins theta, auto_ets and those
    from outside are fitted on (auto: by counts alone, docs/comparison.md).  `save_forecasts`: to MLflow, not only to
    LAGLINE_HOME.  `refit`: after how many test origins every model is retrained.  `levels`: of the intervals,
    in percent.  `intervals`: how they are calibrated (auto: best for each model).  `scaled`: also errors in
    units of each series' training standard deviation.  `choose_by`: the measure that ranks on validation.
    """

    stride: Positive  # rows from one scored origin to the next
    baselines: Annotated[tuple[Text, ...], BeforeValidator(as_tuple)]  # forecasts to beat
    season: Annotated[int, Field(ge=1, le=10**6)]  # rows of one season, of the baselines and MASE
    baseline_origins: Positive | Literal["auto"] = "auto"
    save_forecasts: bool
    refit: Positive | None
    scaled: bool = False
    choose_by: Measure = "mae"
    levels: Annotated[tuple[Percent, ...], BeforeValidator(as_tuple), Field(max_length=9)] = LEVELS
    intervals: str = "auto"

    @model_validator(mode="before")
    @classmethod
    def _with_naive2(cls, raw: Any) -> Any:
        """An OWA divides by Naive2, so a run that chooses by it always has that baseline."""
        named = raw.get("baselines") if isinstance(raw, Mapping) and raw.get("choose_by") == "owa" else None
        return {**raw, "baselines": [*named, "naive2"]} if isinstance(named, list | tuple) and "naive2" not in named else raw

    @model_validator(mode="after")
    def _known_units(self) -> Self:
        if self.choose_by.endswith("_scaled") and not self.scaled:
            raise ValueError(f"choose_by {self.choose_by} needs scaled: true")
        return self

    @field_validator("intervals")
    @classmethod
    def _a_method(cls, value: str) -> str:
        if not re.fullmatch(INTERVALS, value):
            raise ValueError("name auto, or a method of docs/intervals.md, such as split, spread-by-size or cqr-spread-even")
        return value

    @field_validator("baselines")
    @classmethod
    def _a_naive(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not {*get_args(Naive)} & {*value}:
            raise ValueError("name at least one of last_value, drift, seasonal_naive: a variant must beat the best naive")
        if len(set(value)) < len(value):
            raise ValueError("a baseline is named twice")
        return value


def _rising_pair(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first number must not be above the second")
    return value


class PromotionParams(Section):
    """What a challenger must achieve before it becomes champion.

    `min_skill`, `min_slice_skill`: against the best baseline, in evaluation.choose_by; `min_skill_naive`:
    against the best of last value, drift and seasonal naive.  `coverage`: allowed range of the 90 %
    interval's coverage, over all rows, per fifth of the series by size and per quarter of the
    horizon.  `intervals`: of scheduled forecasts; aci: their level follows the observed coverage.
    `rollback_below`, `rollback_after`: a schedule takes a champion back once its realised skill against the
    best naive was below the one for so many origins in a row.
    """

    rule: Literal["better", "not_worse"]  # what is asked against the champion
    margin: Annotated[float, Field(ge=0)]  # by how much, as a share of its error
    min_skill: float
    min_skill_naive: float | None = None
    min_slice_skill: float
    coverage: Annotated[tuple[Share, Share], BeforeValidator(as_tuple), AfterValidator(_rising_pair)]
    intervals: Literal["fixed", "aci"] = "fixed"
    timeout_minutes: Annotated[float, Field(gt=0, le=MOST_SECONDS / 60)] | None = None  # all gates together
    rollback_below: Annotated[float, Field(lt=1)] | None = None
    rollback_after: Annotated[int, Field(ge=1, le=1000)] = 10
