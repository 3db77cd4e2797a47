"""Window parameters: lookback, sampling rate and delay per feature, horizon and gap.  Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

CALENDAR = {"hour": 24.0, "weekday": 7.0, "monthday": 31.0, "yearday": 365.25, "month": 12.0}  # name -> period
HOLIDAY = "holiday"  # calendar feature: 1 on a holiday, else 0
AHEAD = " (ahead)"  # suffix of the panel channel with a future covariate's raw values
Static = Literal["numeric", "categorical"]


def calendar_channels(name: str) -> tuple[str, ...]:
    """The channels of a calendar feature: the sine and cosine of its period, or a holiday flag.

    Raises ValueError for an unknown name.
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
    """What a window holds: features and their windows, values known ahead, static covariates, horizon.

    `calendar`: features seen at the samples of the longest feature and at every row ahead.  `future`:
    covariates given for the rows ahead; to use their past too, list them among the features.  `static`:
    numeric or categorical.  `max_missing_share`: the largest share of missing samples in a window.
    `start_index`, `end_index`: the first row of a series that a window reads and its last target row
    (inclusive, as in Keras; None: to the end).  `start_padding`: missing rows that a panel has before each
    series, so that a series shorter than a window still has windows.  `wide`: the columns read in 64 bits
    because 32 bits cannot resolve their changes at their level.
    Raises ValueError for numbers out of range, no features or an unknown calendar name.
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
        """The windows of Keras's `TimeseriesGenerator`, from its arguments.

        There `length` counts raw rows: a window has ceil(length / sampling_rate) samples, the oldest `length`
        rows before its target; if `length` is not a multiple of the rate, the newest sample is not the row
        before the target, which is a delay here.
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
        """Rows that a series must have before an origin: the reach minus the padding."""
        return self.reach - self.start_padding

    @property
    def ahead(self) -> int:
        """Rows from the origin to the last target: A."""
        return self.gap + self.horizon

    @property
    def waves(self) -> tuple[str, ...]:
        """The channels of all calendar features: sine and cosine, or the holiday flag."""
        return tuple(channel for name in self.calendar for channel in calendar_channels(name))

    @property
    def clock(self) -> FeatureWindow:
        """The time steps of a window: the samples of the feature with the longest lookback, without delay."""
        longest = max(self.features.values(), key=lambda w: w.lookback)
        return FeatureWindow(longest.lookback, longest.sampling_rate)

    @property
    def channels(self) -> dict[str, FeatureWindow]:
        """Every past channel of a batch in order: the features, then the calendar's, on the clock."""
        return dict(self.features) | dict.fromkeys(self.waves, self.clock)

    @property
    def known(self) -> tuple[str, ...]:
        """Every channel known ahead, in order: the calendar's channels, then the future covariates."""
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
        """The panel's channels that are also stored in 64 bits, in order."""
        return (*self.wide_features, *(name + AHEAD for name in self.wide_future))

    @property
    def panel_channels(self) -> tuple[str, ...]:
        """The panel's channels that these windows are cut from, in order."""
        return (*self.features, *self.known)

    def without(self, names: Sequence[str]) -> Self:
        """The same windows without some features, and no unneeded padding; ValueError if none is left."""
        kept = {name: window for name, window in self.features.items() if name not in names}
        reach = max((window.reach for window in kept.values()), default=0)
        wide = tuple(name for name in self.wide if name in kept or name in self.future)
        return replace(self, features=kept, start_padding=min(self.start_padding, reach), wide=wide)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_dict` is the inverse."""
        content = asdict(self) | {name: list(getattr(self, name)) for name in ("calendar", "future", "wide")}
        return content if self.wide else {name: value for name, value in content.items() if name != "wide"}  # as in lagline 0.1

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        features = {name: FeatureWindow(**window) for name, window in raw["features"].items()}
        lists = {name: tuple(raw.get(name, ())) for name in ("calendar", "future", "wide")}  # `wide` was added later
        return cls(**{**raw, "features": features, **lists})
