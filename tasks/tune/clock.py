"""What a preset and a budget of minutes make of a run: variants tried and tuned, number of seeds and ranges.

Only here does a clock decide; decisions are recorded, so that the same command does the same again.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from params.load import variants_setting
from params.preset import Preset
from tasks.files import placed
from tasks.train.identity import canonical, sha256

FEWEST = 4  # trials: with fewer, a search is no better than guessing by hand
RANGES = 0.4  # share of the time left after the first fits, for further validation ranges
RESERVE = 0.15  # share of the minutes, for scores, pictures and registration


@dataclass(frozen=True)
class Clock:
    """The minutes for everything together, from `began` (`time.monotonic`); None: no limit."""

    minutes: float | None
    began: float = field(default_factory=time.monotonic)
    now: Callable[[], float] = time.monotonic

    def used(self) -> float:
        """Seconds used so far."""
        return self.now() - self.began

    def left(self, share: float = 1.0) -> float:
        """Seconds until a share of the minutes, minus the reserve, is used up; infinite without a budget."""
        if self.minutes is None:
            return math.inf
        return 60 * self.minutes * (1 - RESERVE) * share - self.used()


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A variant after its first fit: cost, validation error (None: failed), whether seeds matter, tunable."""

    name: str
    seconds: float
    score: float | None
    seeded: bool
    searched: bool


class Pick(NamedTuple):
    """A trial of a search."""

    variant: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done of a preset.

    `left_out`: variants that there was no time to start.  `tuned`: the variants searched, in the `search` of
    that identity, from which `picks` are trained."""

    preset: str
    minutes: float | None
    variants: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    search: str = ""
    picks: tuple[Pick, ...] = ()
    seeds: int = 1
    folds: int = 1

    def settings(self) -> list[str]:
        """The `--set` texts for it, except for the picks."""
        return [variants_setting(self.variants), f"training.seeds={self.seeds}", f"split.folds={self.folds}"]

    def words(self, preset: Preset) -> list[str]:
        """What is done, and what of the preset was cut for time."""
        done = f"{_counted(len(self.variants), 'variant')}, {len(self.tuned) or 'none'} of them tuned"
        repeated = f"{_counted(self.seeds, 'seed')}, {_counted(self.folds, 'validation range')}"
        lines = [f"preset {self.preset}: {done}, {repeated}"]
        cut = [", ".join(self.left_out)] if self.left_out else []
        if preset.tune.variants and preset.tune.trials and not self.tuned:
            cut.append("tuning")
        cut += [f"{preset.seeds - self.seeds} of {preset.seeds} seeds"] if self.seeds < preset.seeds else []
        cut += [f"{preset.folds - self.folds} of {preset.folds} validation ranges"] if self.folds < preset.folds else []
        if cut:
            lines.append(f"  cut, since {self.minutes:g} minutes do not hold it: {'; '.join(cut)}")
        return lines


def begins(clock: Clock, share: float, estimates: Sequence[float], pace: float, jobs: int) -> bool:
    """Whether some fits may start: the share is not used up, and at the pace so far they end in time.

    `estimates`: seconds of each by the cost table.  `pace`: actual seconds per estimated second.
    """
    slowest = max(max(estimates), sum(estimates) / jobs)
    return clock.left(share) > 0 and pace * slowest <= clock.left()


def ranges(preset: Preset, clock: Clock, look_seconds: float, jobs: int) -> int:
    """The validation ranges there is time for.  `look_seconds`: all variants' first fits, on one core."""
    room = clock.left() * jobs * RANGES
    return _most(preset.folds, lambda n: (n - 1) * look_seconds <= room)


def searched(
    preset: Preset, clock: Clock, tried: Sequence[Tried], folds: int, owed: float, jobs: int
) -> tuple[tuple[str, ...], int, float | None]:
    """The variants to tune, best first, their total number of trials, and the minutes for these.

    None if there is no time for enough trials.  `owed`: core seconds of what is already decided.
    """
    best = sorted(
        (candidate for candidate in tried if candidate.searched and candidate.score is not None),
        key=lambda candidate: (candidate.score, candidate.name),
    )
    chosen = best[: preset.tune.variants] if preset.tune.trials else []
    seconds = (clock.left() - owed / jobs) * preset.clock.tune
    while chosen and seconds * jobs < FEWEST * folds * sum(candidate.seconds for candidate in chosen):
        chosen = chosen[:-1]
    if not chosen:
        return (), 0, None
    return tuple(candidate.name for candidate in chosen), preset.tune.trials, None if math.isinf(seconds) else seconds / 60


def repeated(preset: Preset, clock: Clock, seed_seconds: float, owed: float, jobs: int) -> int:
    """The seeds there is time for.  `seed_seconds`: one more seed of everything, on one core."""
    room = clock.left() * jobs - owed
    return _most(preset.seeds, lambda n: (n - 1) * seed_seconds <= room)


def _most(wanted: int, fits: Callable[[int], bool]) -> int:
    return next((n for n in range(wanted, 1, -1) if fits(n)), 1)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def decision_file(home: Path, preset: str, minutes: float | None, identities: Sequence[str]) -> Path:
    """The file of a decision, by what it was made for.  `identities`: of the first fits of all variants."""
    inputs = {"preset": preset, "minutes": minutes, "fits": sorted(identities)}
    return home / "decisions" / f"{sha256(canonical(inputs))}.json"


def recorded_decision(file: Path) -> Decision | None:
    """The recorded decision, or None."""
    if not file.exists():
        return None
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    lists = {name: tuple(kept.pop(name)) for name in ("variants", "left_out", "tuned")}
    return Decision(**kept | lists | {"picks": tuple(Pick(*pick) for pick in kept["picks"])})


def record_decision(file: Path, decision: Decision) -> None:
    """Stores a decision."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    with placed(file) as partial:
        partial.write_text(json.dumps(asdict(decision), indent=1), encoding="utf-8")
