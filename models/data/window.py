"""What a window is: each feature with its own lookback, sampling rate and delay; the steps to forecast (no torch)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

CALENDAR = {"hour": 24.0, "weekday": 7.0, "monthday": 31.0, "yearday": 365.25, "month": 12.0}  # name -> its period
HOLIDAY = "holiday"  # a feature of the calendar that is 1 on a holiday and 0 on any other day
AHEAD = " (ahead)"  # marks the channel of a panel that keeps a covariate known ahead as it came
Static = Literal["numeric", "categorical"]


def calendar_channels(name: str) -> tuple[str, ...]:
    """The channels of a calendar feature: sine and cosine of its wave, or the answer whether a day is a holiday.

    Raises ValueError for an unknown one.
    """
    if name not in (*CALENDAR, HOLIDAY):
        raise ValueError(f"unknown calendar feature {name!r}; there are: {', '.join((*CALENDAR, HOLIDAY))}")
    return (HOLIDAY,) if name == HOLIDAY else (f"{name}_sin", f"{name}_cos")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")


@dataclass(frozen=True)
class FeatureWindow:
    """The window of one feature: `lookback` samples, `sampling_rate` rows apart, known `delay` rows late."""

    lookback: int
    sampling_rate: int = 1
    delay: int = 0

    def __post_init__(self) -> None:
        _whole("lookback", self.lookback, 1)
        _whole("sampling_rate", self.sampling_rate, 1)
        _whole("delay", self.delay, 0)

    @property
    def reach(self) -> int:
        """Rows from the origin back to the oldest sample."""
        return self.delay + self.sampling_rate * (self.lookback - 1)


@dataclass(frozen=True)
class WindowParams:
    """What a window holds: each feature with its own window, what is known ahead, static covariates, the steps to forecast.

    `calendar`: waves that are seen with the samples of the longest feature and at every row ahead.  `future`: covariates given
    at the rows ahead; whoever wants their past too lists them among the features.  `static`: numeric or categorical.
    `max_missing_share`: of the samples of a window that may be missing.  `start_index`, `end_index`: the first row of a series
    that a window reads and its last target row (inclusive, as in Keras; None: to the end).  `start_padding`: missing rows that
    a panel has in front of each series, so that one shorter than a window has some windows too.  `wide`: the columns that are
    read in 64 bits, because 32 do not hold their changes at their level.
    Raises ValueError for numbers out of range, no feature at all or an unknown calendar name.
    """

    horizon: int
    features: Mapping[str, FeatureWindow] = field(default_factory=dict)
    gap: int = 0
    stride: int = 1
    calendar: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: Mapping[str, Static] = field(default_factory=dict)
    max_missing_share: float = 1.0
    start_index: int = 0
    end_index: int | None = None
    start_padding: int = 0
    wide: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _whole("horizon", self.horizon, 1)
        _whole("gap", self.gap, 0)
        _whole("stride", self.stride, 1)
        _whole("start_index", self.start_index, 0)
        if self.end_index is not None:
            _whole("end_index", self.end_index, 0)
        if not self.features:
            raise ValueError("a window needs at least one feature")
        _whole("start_padding", self.start_padding, 0)
        if self.start_padding > self.reach:
            raise ValueError(f"start_padding {self.start_padding} leaves a window without any row: at most {self.reach}")
        if not 0 <= self.max_missing_share <= 1:
            raise ValueError(f"max_missing_share must lie between 0 and 1, not {self.max_missing_share!r}")
        for name in self.calendar:
            calendar_channels(name)

    @classmethod
    def from_keras(
        cls,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        features: Sequence[str] = ("y",),
    ) -> Self:
        """The windows of Keras's `TimeseriesGenerator(data, targets, length, sampling_rate, stride, start_index, end_index)`.

        There `length` counts raw rows: a window has ceil(length / sampling_rate) samples, the oldest `length` rows before its
        target; where `length` is no multiple of the rate, its newest sample is not the row before the target: a delay here.
        """
        _whole("length", length, 1)
        _whole("sampling_rate", sampling_rate, 1)
        lookback = -(-length // sampling_rate)
        window = FeatureWindow(lookback, sampling_rate, length - 1 - sampling_rate * (lookback - 1))
        named = dict.fromkeys(features, window)
        return cls(1, named, stride=stride, start_index=start_index, end_index=end_index)

    @property
    def lookback(self) -> int:
        """Samples of the longest feature: L."""
        return max(w.lookback for w in self.features.values())

    @property
    def reach(self) -> int:
        """Rows from the origin back to the oldest row that any feature reads."""
        return max(w.reach for w in self.features.values())

    @property
    def behind(self) -> int:
        """Rows that a series must have before an origin: the reach, less what is padded."""
        return self.reach - self.start_padding

    @property
    def ahead(self) -> int:
        """Rows from the origin to the last target: A."""
        return self.gap + self.horizon

    @property
    def waves(self) -> tuple[str, ...]:
        """The channels of each calendar feature: sine and cosine, but for the holidays."""
        return tuple(channel for name in self.calendar for channel in calendar_channels(name))

    @property
    def clock(self) -> FeatureWindow:
        """The samples of a window as moments: those of the feature with the longest lookback, known at once."""
        longest = max(self.features.values(), key=lambda w: w.lookback)
        return FeatureWindow(longest.lookback, longest.sampling_rate)

    @property
    def channels(self) -> dict[str, FeatureWindow]:
        """Every past channel of a batch in order: the features, then the calendar's waves, which keep step with the clock."""
        return dict(self.features) | dict.fromkeys(self.waves, self.clock)

    @property
    def known(self) -> tuple[str, ...]:
        """Every channel known ahead, in order: the calendar's waves, then the future covariates."""
        return (*self.waves, *(name + AHEAD for name in self.future))

    @property
    def wide_features(self) -> tuple[str, ...]:
        """The features that are read in 64 bits, in order."""
        return tuple(name for name in self.features if name in self.wide)

    @property
    def wide_future(self) -> tuple[str, ...]:
        """The covariates known ahead that are read in 64 bits, in order."""
        return tuple(name for name in self.future if name in self.wide)

    @property
    def wide_channels(self) -> tuple[str, ...]:
        """The channels of a panel that are there in 64 bits too, in order."""
        return (*self.wide_features, *(name + AHEAD for name in self.wide_future))

    @property
    def panel_channels(self) -> tuple[str, ...]:
        """The channels of the panel that these windows are cut from, in order."""
        return (*self.features, *self.known)

    def without(self, names: Sequence[str]) -> Self:
        """The same without some features, padded no further than the others reach.  Raises ValueError where none is left."""
        kept = {name: window for name, window in self.features.items() if name not in names}
        reach = max((window.reach for window in kept.values()), default=0)
        wide = tuple(name for name in self.wide if name in kept or name in self.future)
        return replace(self, features=kept, start_padding=min(self.start_padding, reach), wide=wide)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives it back."""
        found = asdict(self) | {name: list(getattr(self, name)) for name in ("calendar", "future", "wide")}
        return found if self.wide else {name: value for name, value in found.items() if name != "wide"}  # as lagline 0.1 did

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        features = {name: FeatureWindow(**window) for name, window in raw["features"].items()}
        lists = {name: tuple(raw.get(name, ())) for name in ("calendar", "future", "wide")}  # `wide` is younger than the others
        return cls(**{**raw, "features": features, **lists})
