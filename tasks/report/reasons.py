"""Why no variant beat the best baseline, as far as it can be proven, and what to type next."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from models.data.panel import Data, Panel, Split
from params.schema import RunParams
from tasks.compare.compare import Comparison
from tasks.compare.measures import Measured, Scale, measured
from tasks.evaluate.frames import Forecasts
from tasks.explore.rhythm import SERIES, seasons_of, some_series
from tasks.lags.past import pasts, target_frame
from tasks.lags.sizes import window_counts
from tasks.report import evidence
from tasks.report.conclude import verdict_of
from tasks.report.evidence import Trained
from tasks.report.told import Reason, Told
from tasks.train.fits import Fit


def tell(run: RunParams, data: Data, fits: Sequence[Fit], comparison: Comparison, command: str) -> Told:
    """The conclusions of a comparison, with reasons if no variant won.  `command`: the command that ran."""
    by, sizes = run.evaluation.choose_by, comparison.scales[-1].series
    note = evidence.size_note(sizes, comparison.errors_by_series(comparison.shown), comparison.shown, by)
    conclusion = Told(verdict_of(comparison, run), by, note, None, command)
    if comparison.board.won:
        return conclusion
    best = next((fit for fit in fits if fit.variant == comparison.best), None)
    reasons = reasons_of(best.planned.variant.run if best else run, data, sizes, fits)
    if best and not best.planned.variant.members:  # an ensemble cannot be a member of another
        labels = [row.name for row in comparison.rows if row.variant == comparison.best and row.finished]
        together = better_together(comparison.validation, best.variant, labels, comparison.baseline, comparison.scales)
        reasons += [together] if together else []
    return replace(conclusion, reasons=tuple(reasons))


def reasons_of(run: RunParams, data: Data, sizes: pl.DataFrame, fits: Sequence[Fit]) -> list[Reason]:
    """Every reason that holds: first about the series, then about the training.

    `run`: that of the best variant.  `sizes`: unique_id, size, as in `Scale.series`.
    """
    panel, grid = data.panel, data.panel.facts.frequency
    arrays = some_series(_longest(panel, data.split).lazy(), grid, run.name)
    seasons = seasons_of(arrays, grid)
    counts = window_counts(data, run.evaluation.stride)
    every = [Trained(fit.variant, fit.job.training, fit.result) for fit in fits]
    trained = [model for model in every if model.result.finished]
    reasons = (
        None if trained else evidence.none_finished(every),
        evidence.season_out_of_sight(arrays, seasons, data.windows),
        evidence.no_memory(arrays, seasons),
        evidence.few_windows(counts["train"].to_list(), data.windows),
        evidence.level_moved(pasts(panel, data.split), pasts(panel, data.split, "validation"), run.scaling),
        evidence.unlike_sizes(sizes, run.scaling),
        evidence.still_improving(trained),
        evidence.best_at_once(trained),
        evidence.other_epoch(trained, run.evaluation.choose_by),
    )
    return [reason for reason in reasons if reason]


def better_together(
    validation: Forecasts, variant: str, fits: Sequence[str], bar: str, scales: Sequence[Scale]
) -> Reason | None:
    """That the mean of a variant's and the best baseline's forecasts beats that baseline on validation.

    `fits`: the variant's, one per seed.  `scales`: one per fold."""
    members = [*fits, bar]
    mean = sum((pl.col(name).fill_nan(None) for name in members), pl.lit(0.0)) / len(members)

    def measure(fold: int, scale: Scale) -> Measured:
        blocks = validation.blocks(*members, *scale.besides, fold=fold)
        return measured((block.with_columns(_mean=mean) for block in blocks), ("_mean", bar), scale)

    share = Measured.mean([measure(fold, scale) for fold, scale in enumerate(scales)]).skill("_mean", bar)
    if share is None or share <= 0:
        return None
    name = f"{variant}_{bar}"
    text = f"about: the mean of {variant} and {bar}\nensemble: [{variant}, {bar}]\ncombine: mean\n"
    words = (
        f"{variant} and {bar} err in different ways: on validation the mean of their forecasts, which an ensemble of both "
        f"gives, is {100 * share:.1f} % better than {bar} alone"
    )
    return Reason(words, (f"variants=[{name}]",), (f"params/variants/{name}.yaml", text))


def _longest(panel: Panel, split: Split) -> pl.DataFrame:
    """unique_id, ds, y of the training rows of the longest series, as many as seasons are read from."""
    padding, (_, stops) = panel.facts.start_padding, split.target_ranges(panel.times, panel.offsets, "train")
    counts = np.maximum(stops - padding, 0)
    some = np.sort(np.argsort(-counts, kind="stable")[:SERIES])  # equal lengths by name, which is the order of series
    rows = target_frame(panel, [panel.ids[number] for number in some])
    limits = np.repeat(counts[some], np.diff(panel.offsets)[some] - padding)
    return rows.filter(pl.int_range(pl.len()).over("unique_id") < pl.Series(limits))
