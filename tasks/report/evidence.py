"""What training rows, windows and epochs prove against the networks of a comparison.

Nothing is guessed: each function returns a reason if its condition holds, otherwise None.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from models.data.window import WindowParams
from models.fit.settings import Ended, Result, Training
from params.schema import ScalingParams
from tasks.explore.rhythm import correlation
from tasks.lags.past import Past, frame_of
from tasks.report.told import Reason

FEW = 1000  # training windows: fewer count as few
NEARER = 0.1  # a longer season must fit better, by this share, than one that a window holds
FLAT, CHANGES = 0.1, (1, 2, 3)  # an autocorrelation below this, at each of these lags, says nothing
MOVED = 1.0  # a level has moved by this many deviations of the training rows
SPREAD = 2.0  # row-to-row changes are larger or smaller by this factor
TENFOLD = 10.0  # the largest series relative to the smallest
BUDGETS = {Ended.MAX_EPOCHS: "max_epochs", Ended.MAX_STEPS: "max_steps", Ended.MAX_SECONDS: "max_seconds"}
TRANSFORMS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "none": lambda y: y,
    "log1p": lambda y: y.sign() * y.abs().log1p(),
    "asinh": lambda y: y.arcsinh(),
}


class Trained(NamedTuple):
    """A fit: its variant's name, its settings and its result."""

    name: str
    training: Training
    result: Result


def season_out_of_sight(arrays: Sequence[np.ndarray], seasons: Mapping[int, float], windows: WindowParams) -> Reason | None:
    """A season in the training rows that no window of y covers, and that says more than covered ones.

    `arrays`: the training rows of some series on the grid, NaN for missing.  `seasons`: rows ->
    autocorrelation, for clear ones (`rhythm.seasons_of`).  A window covers a season of n rows if it has the
    row n before the first step.
    """
    seen = windows.features.get("y")
    if seen is None:
        return Reason("no variant sees the past of the target: y is not in windows.features")
    reach = seen.reach + windows.gap + 1
    far, near = [lag for lag in seasons if lag > reach], [lag for lag in seasons if lag <= reach]
    if not far:
        return None
    errors = {lag: _error_at(arrays, lag) for lag in seasons}
    season = min(far, key=errors.__getitem__)
    proof = f"autocorrelation {seasons[season]:.2f} in the training rows"
    if near:
        other = min(near, key=errors.__getitem__)
        if not errors[season] <= (1 - NEARER) * errors[other]:
            return None
        share = 100 * (1 - errors[season] / errors[other])
        proof = f"in the training rows a value is {share:.0f} % nearer to that one than to that of {other} rows before"
    lookback = math.ceil((season - windows.gap - 1 - seen.delay) / seen.sampling_rate) + 1
    words = (
        f"the series repeat after {season} rows, and the window of y reaches back over {seen.reach + 1}: no network sees the "
        f"row of a season before ({proof})"
    )
    return Reason(words, (f"windows.features.y.lookback={lookback}",))


def _error_at(arrays: Sequence[np.ndarray], lag: int) -> float:
    """The median over series of the distance from values `lag` rows earlier, in deviations of a series."""
    errors = []
    for values in arrays:
        away, unit = np.abs(values[lag:] - values[:-lag]), np.nanstd(values)
        if np.isfinite(away).any() and unit > 0:
            errors.append(float(np.nanmean(away) / unit))
    return float(np.median(errors)) if errors else math.inf


def no_memory(arrays: Sequence[np.ndarray], seasons: Mapping[int, float]) -> Reason | None:
    """Series whose row-to-row changes say nothing about the next: random walks, best left at the last value.

    `arrays`: the training rows of some series on the grid, NaN for missing.
    """
    if seasons:
        return None
    medians = []
    for lag in CHANGES:
        known = [value for value in (correlation(np.diff(values), lag) for values in arrays) if math.isfinite(value)]
        medians.append(float(np.median(known)) if known else math.nan)
    if not all(abs(value) < FLAT for value in medians):  # NaN: too short to say
        return None
    return Reason(
        f"the series move like random walks: no season is clear, and a change from row to row tells nothing of the next "
        f"(autocorrelation {medians[0]:+.2f}); their own past has little that could be learned"
    )


def few_windows(counts: Sequence[int], windows: WindowParams) -> Reason | None:
    """Few windows to train on, or series without any.  `counts`: per series."""
    total, without = sum(counts), sum(count == 0 for count in counts)
    words, settings = [], []
    if total < FEW:
        apart = f", {windows.stride} rows apart" if windows.stride > 1 else ""
        words.append(f"there are only {total:,} windows to train on{apart}")
        settings += [f"windows.stride={max(1, windows.stride * total // FEW)}"] if windows.stride > 1 else []
    if 2 * without >= len(counts) > 1:
        words.append(f"{without:,} of {len(counts):,} series are too short for one window to train on")
        settings += [f"windows.start_padding={windows.reach}"] if windows.start_padding < windows.reach else []
    return Reason(", and ".join(words), tuple(settings)) if words else None


def level_moved(past: Iterable[Past], after: Iterable[Past], scaling: ScalingParams) -> Reason | None:
    """The level or size of changes moved between training and validation, and the scaling does not follow.

    `past`, `after`: the training and validation rows of all series.
    """
    if scaling.window == "revin":
        return None
    before, now = (pl.concat(_shape(rows, scaling.target) for rows in parts) for parts in (past, after))
    both = before.join(now, on="unique_id", suffix="_after").filter(pl.col("deviation") > 0)
    moved = both.select(((pl.col("level_after") - pl.col("level")).abs() / pl.col("deviation")).median()).item()
    if scaling.window == "none" and moved is not None and moved >= MOVED:
        words = (
            f"from training to validation the level of a series moves by {moved:.1f} standard deviations of its training rows "
            "(the median over series), and with scaling.window none no window is measured against its own level"
        )
        return Reason(words, ("scaling.window=mean",))
    times = both.filter(pl.col("change") > 0).select((pl.col("change_after") / pl.col("change")).median()).item()
    if times is None or 1 / SPREAD < times < SPREAD:
        return None
    words = (
        f"the changes from row to row are {times:.2g} times as large in validation as in training (the median over series), "
        f"which scaling.window {scaling.window} does not follow"
    )
    return Reason(words, ("scaling.window=revin",))


def _shape(rows: Past, transform: str) -> pl.DataFrame:
    """unique_id, level (median), deviation and change (mean step size) per series, as networks see them."""
    y = TRANSFORMS[transform](pl.col("y"))
    return (
        frame_of(rows)
        .group_by("unique_id", maintain_order=True)
        .agg(level=y.median(), deviation=y.std(ddof=0), change=y.diff().abs().mean())
    )


def unlike_sizes(sizes: pl.DataFrame, scaling: ScalingParams) -> Reason | None:
    """Series of unlike size under one common scale.  `sizes`: unique_id, size of the training rows."""
    if scaling.per != "global" or scaling.target != "none" or scaling.window == "revin":
        return None
    ends = _ends(_sizes(sizes))
    if ends is None:
        return None
    words = f"series differ in size ({_between(*ends)}), and scaling.per global with target none has the scale of the largest"
    return Reason(words, ("scaling.per=series",))


def none_finished(failed: Sequence[Trained]) -> Reason:
    """Why each fit failed, if all did; advises smaller steps if one diverged.  `failed`: all fits."""
    words = "; ".join(dict.fromkeys(f"{name}: {result.reason}" for name, _, result in failed))
    rates = [training.learning_rate for _, training, result in failed if result.step is not None and not result.again]
    return Reason(f"no variant finished ({words})", (f"training.learning_rate={min(rates) / 10:g}",) if rates else ())


def still_improving(trained: Sequence[Trained]) -> Reason | None:
    """Fits whose best epoch is the last that their budget allowed."""
    cut: dict[str, dict[str, float]] = defaultdict(dict)
    for name, training, result in trained:
        budget = BUDGETS.get(result.ended_by) if result.ended_by else None
        if budget and result.history and result.best_epoch == result.history[-1]["epoch"]:
            cut[budget][name] = max(cut[budget].get(name, 0), getattr(training, budget))
    if not cut:
        return None
    words = (
        f"{_names(list(names))} {'were' if len(names) > 1 else 'was'} still improving when training.{budget} "
        f"({max(names.values()):g}) was used up"
        for budget, names in cut.items()
    )
    settings = tuple(f"training.{budget}={4 * max(names.values()):g}" for budget, names in cut.items())
    return Reason("; ".join(words), settings)


def best_at_once(trained: Sequence[Trained]) -> Reason | None:
    """Fits that were best after their first epoch, of at least three, and then got worse."""
    rates = {
        name: training.learning_rate
        for name, training, result in trained
        if result.ended_by in (*BUDGETS, Ended.PATIENCE) and result.best_epoch == 0 and len(result.history) > 2
    }
    if not rates:
        return None
    verb = "were" if len(rates) > 1 else "was"
    words = f"{_names(list(rates))} {verb} best after the first epoch, and worse after each later one"
    return Reason(words, (f"training.learning_rate={min(rates.values()) / 10:g}",))


def other_epoch(trained: Sequence[Trained], choose_by: str) -> Reason | None:
    """Fits that kept an epoch by raw MAE where the scaled loss, equal for all series, prefers another."""
    names = []
    for name, training, result in trained:
        known = [row for row in result.history if "val_loss" in row]
        if choose_by == "mae" or training.monitor == "loss" or len(known) < 2 or result.ended_by is Ended.CLOSED_FORM:
            continue
        if min(known, key=lambda row: row["val_loss"])["epoch"] != result.best_epoch:
            names.append(name)
    if not names:
        return None
    words = (
        f"of {_names(list(dict.fromkeys(names)))} the epoch was kept that has the lowest raw MAE; the lowest loss in scaled "
        "units, which weighs series alike, is that of another"
    )
    return Reason(words, ("training.monitor=loss",))


def size_note(sizes: pl.DataFrame, by_series: pl.DataFrame, model: str, choose_by: str) -> str:
    """A note that a run with `mae` is dominated by its largest series; empty if series or weights are alike.

    `sizes`: unique_id, size of the training rows.  `by_series`: unique_id and the test MAE of `model`.
    """
    sizes = _sizes(sizes)
    ends = _ends(sizes)
    if choose_by != "mae" or ends is None:
        return ""
    errors = sizes.join(by_series, on="unique_id").drop_nulls(model).sort("size", "unique_id", descending=[True, False])
    values, tenth = errors[model].to_numpy(), math.ceil(errors.height / 10)
    largest = f"the largest {tenth} of {errors.height}" if tenth > 1 else "the largest"
    share = (
        f"; {100 * values[:tenth].sum() / values.sum():.0f} % of the error of {model} is that of {largest}"
        if values.any()
        else ""
    )
    return (
        f"series differ in size ({_between(*ends)}), and evaluation.choose_by mae goes by the large ones{share}: "
        "--set evaluation.choose_by=mase weighs all alike"
    )


def _sizes(sizes: pl.DataFrame) -> pl.DataFrame:
    """The sizes of the series that are not always 0."""
    return sizes.select("unique_id", "size").filter(pl.col("size") > 0)


def _ends(sizes: pl.DataFrame) -> tuple[float, float] | None:
    """The smallest and largest size, if they differ tenfold."""
    values = sizes["size"].to_numpy()
    smallest, largest = (float(values.min()), float(values.max())) if len(values) else (1.0, 1.0)
    return (smallest, largest) if largest >= TENFOLD * smallest else None


def _between(smallest: float, largest: float) -> str:
    return f"mean |y| {_short(smallest)} to {_short(largest)}"


def _short(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{float(f'{value:.3g}'):,g}"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
