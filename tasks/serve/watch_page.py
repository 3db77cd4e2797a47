"""The page of a watch: the verdict first, then what was found, realised error by age, drift, series."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from params.shown import visible
from tasks import pages
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, DESK, HAND, QUIET, label, new_figure, png, time_axis, whole_ticks
from tasks.serve.drift import Drift
from tasks.serve.watch import Watched, measured, ranked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 6  # features that drift, each with a picture
ROWS = 12  # ages in the table
NAMES = 100  # series in a list
UNKNOWN = (
    "Whether a drift hurts: the realised error says that, once there are actuals.",
    "A season or trend that is longer than training: its next part looks like drift.  A season that training has "
    "seen raises the bar, since its own windows differ as much.",
    "A drift smaller than training's own windows differ from each other, or in so few series that all rows together "
    "hardly change.",
    "A change of the relation between inputs and target while both keep their distributions, except by the error.",
    "About 1 % of columns are named without a reason, and more of those that move slowly, of which training holds "
    "few independent windows.",
)


def page(seen: Watched) -> str:
    """The whole page: offline, every name escaped."""
    sections = [
        pages.Section("found", "What was found", body=pages.bullets([str(finding) for finding in seen.findings])),
        _forecasts(seen),
        _drift(seen),
        _series(seen),
        pages.Section("facts", "What was looked at", body=pages.facts(_facts(seen))),
        pages.Section("limits", "What this cannot know", body=pages.bullets(UNKNOWN)),
    ]
    return pages.page(f"Watch: {seen.name} version {seen.version}", seen.verdict, sections)


def _facts(seen: Watched) -> dict[str, str | bool | None]:
    return {
        "version": f"{seen.name} version {seen.version}",
        "training ended at": seen.trained_to,
        "rows since": f"{seen.since.rows:,}, {seen.since.steps:,} steps",
        "newest row": str(seen.since.newest),
        "days are those of": seen.clock,
    }


def _forecasts(seen: Watched) -> pages.Section:
    """Realised error and skill by the model's age."""
    past = seen.realised
    if past is None or past.by_age.is_empty():
        return pages.Section("forecasts", "Forecasts", body=pages.paragraph("No forecast since training has an actual yet."))
    how = "that were served" if seen.served else "made now, as of cutoffs since training, with what was known at each"
    skill = "" if past.skill is None else f" Realised skill {past.skill:+.1%} against the best naive."
    covered = "" if past.coverage is None else f" The 90 % intervals cover {past.coverage:.1%}."
    caption = "Mean absolute error by the model's age (steps from training's newest row to the cutoff)"
    return pages.Section(
        "forecasts",
        "Forecasts",
        f"Those {how}.{skill}{covered}",
        [pages.figure(caption, *(_error_picture(past.by_age, narrow) for narrow in (False, True)))],
        pages.folded("in numbers", _ages(past.by_age)),
    )


def _ages(by_age: pl.DataFrame) -> pages.Html:
    """The table of ages, grouped to few rows."""
    size = -(-by_age.height // ROWS)
    group = (pl.int_range(pl.len()) // size).alias("group")
    total = [((pl.col(name) * pl.col("n")).sum() / pl.col("n").sum()).alias(name) for name in ("mae", "naive_mae", "coverage")]
    some = by_age.group_by(group, maintain_order=True).agg(
        *total,
        first=pl.col("age").min(),
        last=pl.col("age").max(),
        rows=pl.col("n").sum(),
    )
    heads = ("age", "rows", "error", "best naive", "skill", "90 % covers")
    return pages.grid(heads, [_age(row) for row in some.iter_rows(named=True)])


def _age(row: dict[str, float]) -> list[str]:
    age = f"{row['first']:,}" if row["first"] == row["last"] else f"{row['first']:,} to {row['last']:,}"
    skill = f"{1 - row['mae'] / row['naive_mae']:+.1%}" if row["naive_mae"] else ""
    covered = "" if row["coverage"] is None else f"{row['coverage']:.1%}"
    return [age, f"{row['rows']:,}", f"{row['mae']:.4g}", f"{row['naive_mae']:.4g}", skill, covered]


def _error_picture(by_age: pl.DataFrame, narrow: bool) -> bytes:
    figure, ax = new_figure(*((4.2, 3.2) if narrow else (9, 3.4)))
    mark = "o" if by_age.height < 40 else None
    for name, color, text in (("naive_mae", BAR, "best naive"), ("mae", CHOSEN, "the version")):
        ax.plot(by_age["age"].to_numpy(), by_age[name].to_numpy(), color=color, lw=1.6, marker=mark, ms=3, label=text)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("age of the model in steps")
    ax.set_ylabel("mean absolute error")
    whole_ticks(ax)
    ax.legend(frameon=False, fontsize=9)
    return png(figure, HAND if narrow else DESK)


def _drift(seen: Watched) -> pages.Section:
    """Every column that the version reads, those that drift first, and pictures of these."""
    some = ranked(seen.since.drifts)
    heads = [pages.Cell("column"), pages.Cell("drifts"), *(pages.Cell(head, pages.NUMBER) for head in
             ("PSI", "usual", "KS distance", "usual", "window", "jump", "usual", "missing"))]  # fmt: skip
    body = pages.table(heads, [_row(drift, seen) for drift in some])
    note = (
        "Of the columns that the version reads, less their usual level at that place of the season, in standard "
        "deviations of each series' training. 'Usual' is what training's own windows exceed 1 % of the time (of the "
        f"PSI at least 0.2). 'Window' is how many of the newest {seen.since.unit} were compared with training, 'jump' the "
        "largest KS distance of some of them from as many before."
    )
    return pages.Section("drift", "Drift", note, list(_pictures(seen, some)), body)


def _row(drift: Drift, seen: Watched) -> pages.Row:
    if not drift.judged:
        return pages.Row([pages.Cell(visible(drift.feature)), pages.Cell("not judged: too few rows", "long")], "quiet")
    when = f"since {seen.since.began(drift)}" if drift.since is not None else "no"
    numbers = (
        f"{drift.psi:.2g}",
        f"{drift.psi_bar:.2g}",
        f"{drift.distance:.2f}",
        f"{drift.distance_bar:.2f}",
        f"{drift.window:,}",
        f"{drift.jump:.2f}",
        f"{drift.jump_bar:.2f}",
    )
    cells = [pages.Cell(text, pages.NUMBER) for text in (*numbers, f"{drift.missing:.1%}")]
    began = pages.Cell(when, "fail" if drift.since is not None else "ok")
    return pages.Row([pages.Cell(visible(drift.feature)), began, *cells])


def _pictures(seen: Watched, some: Sequence[Drift]) -> Iterator[pages.Html]:
    for drift in [drift for drift in some if drift.since is not None][:DRAWN]:
        course, when = seen.since.courses[drift.feature], seen.since.began(drift)
        caption = f"{visible(drift.feature)} drifts since {when} ({measured(drift, seen.since.unit)}): median, and 8 rows of 10"
        yield pages.figure(
            caption, *(png(_course(course, drift, seen, narrow), HAND if narrow else DESK) for narrow in (False, True))
        )


def _course(course: pl.DataFrame, drift: Drift, seen: Watched, narrow: bool) -> "Figure":
    """A feature before and since, with the end of training and the start of its drift."""
    figure, ax = new_figure(*((4.2, 2.9) if narrow else (9, 2.9)))
    rows = course.rename({"start": "ds"})
    starts = seen.since.times
    if not rows.schema["ds"].is_integer():
        rows, starts = rows.with_columns(pl.col("ds").dt.replace_time_zone(None)), starts.dt.replace_time_zone(None)
    at, low, high = (rows[name].to_numpy() for name in ("ds", "low", "high"))
    ax.fill_between(at, low, high, color=CHOSEN, alpha=0.2, lw=0)
    ax.plot(at, rows["mid"].to_numpy(), color=CHOSEN, lw=1.4)
    ax.axvline(starts.to_numpy()[0], color=QUIET, lw=1, ls="--")
    ax.axvline(starts.to_numpy()[drift.since or 0], color=BAR, lw=1.4)
    ax.set_title(f"{label(visible(drift.feature), 30)}", loc="left", fontsize=10)
    ax.set_title("grey: training ends; red: the drift begins", loc="right", fontsize=8, color=ACTUAL)
    ax.set_ylabel("training's deviations")
    time_axis(ax, rows, seen.clock, 4 if narrow else 9)
    return figure


def _series(seen: Watched) -> pages.Section:
    """Series that are absent, late or new."""
    series = seen.since.series
    late = [(visible(name), f"late by {steps:,} steps") for name, steps in series.late]
    rows = [*((visible(name), "absent") for name in series.absent), *late, *((visible(name), "new") for name in series.new)]
    if not rows:
        return pages.Section("series", "Series", body=pages.paragraph("All series of training are there and up to date."))
    note = "" if len(rows) <= NAMES else f"The first {NAMES} of {len(rows):,}."
    heads = [pages.Cell("series"), pages.Cell("state")]
    table = pages.table(heads, [pages.Row([pages.Cell(name), pages.Cell(state)]) for name, state in rows[:NAMES]])
    return pages.Section("series", "Series", note, body=table)
