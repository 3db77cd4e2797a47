"""What the leaderboard of a panel says of its networks, as a row of the table of `benchmarks.defaults`, and that table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from benchmarks._panels import HELD_OUT, KINDS, mase
from tasks.compare.board import Board, ScoreRow
from tasks.train.kind import Kind

NEITHER = {"ridge", "linear", "dense", "sparse_tsf"}  # families that are neither recurrent nor convolutional


@dataclass(frozen=True)
class Model:
    """A row of a leaderboard: its error on validation and on test in the measure of the run, and its MASE on test."""

    name: str
    error: float
    test: float | None
    test_mase: float | None


@dataclass(frozen=True)
class Ahead:
    """MASE over the steps that came after a generated table: of what was registered, and of the seasonal naive."""

    steps: int
    registered: float | None
    seasonal_naive: float | None


@dataclass(frozen=True)
class Row:
    """What one panel shows; `network`: the best single recurrent or convolutional variant; None for what did not finish.

    `ranges`: of validation; `partly`: fits that were there before are not in its minutes.
    """

    panel: str
    series: int
    rows: int
    measure: str
    ranges: int
    network: Model | None
    ridge: Model | None
    baseline: Model | None
    best: Model | None
    minutes: float = 0.0
    core_minutes: float = 0.0
    partly: bool = False
    ahead: Ahead | None = None

    @property
    def gain(self) -> float | None:
        """By how much the error of the network is below that of the better of ridge and baseline, as a share of it."""
        others = [model.error for model in (self.ridge, self.baseline) if model]
        if self.network is None or not others or min(others) == 0:
            return None
        return 1 - self.network.error / min(others)

    @property
    def in_front(self) -> bool:
        """Whether the network is better than ridge and every baseline."""
        return self.gain is not None and self.gain > 0


def judged(panel: str, leaderboard: dict[str, Any], ranges: int = 1) -> Row:
    """The row of a panel of its leaderboard; the size of the panel and its minutes are not in there.

    A row of other rows than the bar's (the best baseline's) has the error that its skill on common rows makes of the bar's.
    """
    board = Board.of((ScoreRow.read(raw) for raw in leaderboard["rows"]), leaderboard["baseline"], leaderboard["naive"])
    rows = [row for row in board.rows if row.finished and row.score is not None]

    def error(row: ScoreRow, split: str) -> float | None:
        of_bar, skill = board.bar[f"{split}_score"] if board.bar else None, row[f"{split}_skill"]
        return row[f"{split}_score"] if of_bar is None or skill is None else of_bar * (1 - skill)

    def model(row: ScoreRow | None) -> Model | None:
        of_validation = error(row, "val") if row else None
        if row is None or of_validation is None:
            return None
        return Model(row.name, of_validation, error(row, "test"), row["test_mase"])

    single = [row for row in rows if row.kind is Kind.VARIANT and row.family not in NEITHER]
    ridge = next((row for row in rows if row.family == "ridge"), None)
    network, best = (model(next(iter(some), None)) for some in (single, rows))
    return Row(panel, 0, 0, leaderboard.get("choose_by", "mae"), ranges, network, model(ridge), model(board.bar), best)


def ahead_of(history: pl.DataFrame, ahead: pl.DataFrame, forecasts: pl.DataFrame, season: int) -> Ahead:
    """The scores of forecasts (unique_id, ds, yhat) of the rows `ahead` of a history, on as many steps as they have."""
    past = history.sort("unique_id", "ds").group_by("unique_id").agg(past=pl.col("y").tail(season))
    rows = ahead.sort("unique_id", "ds").with_columns(step=pl.int_range(pl.len()).over("unique_id")).join(past, on="unique_id")
    rows = rows.with_columns(naive=pl.col("past").list.get(pl.col("step") % season, null_on_oob=True))
    both = rows.join(forecasts.select("unique_id", pl.col("ds").cast(ahead.schema["ds"]), "yhat"), on=["unique_id", "ds"])
    return Ahead(both["step"].n_unique(), mase(history, both, "yhat", season), mase(history, both, "naive", season))


def report(rows: Sequence[Row], folds: int, test: bool) -> list[str]:
    """The lines of the tables: the public panels, those held out, the generated ones; then the counts and the minutes."""
    blocks = {
        "": [row for row in rows if row.panel not in (*HELD_OUT, *KINDS)],
        "held out": [row for row in rows if row.panel in HELD_OUT],
        "generated": [row for row in rows if row.panel in KINDS],
    }
    lines: list[str] = []
    counts: list[str] = []
    for title, some in blocks.items():
        if some:
            lines += ["", *([f"{title.capitalize()}:", ""] if title else []), *_markdown(some, test, title == "generated")]
            front = sum(row.in_front for row in some)
            counts.append(f"of the {len(some)} {title} on {front}" if title else f"on {front} of {len(some)}")
    summary = f"a network in front {'; '.join(counts)}" if counts else "nothing was compared"
    minutes, cores = sum(row.minutes for row in rows), sum(row.core_minutes for row in rows)
    lines += ["", f"{summary}; {minutes:.1f} minutes in all, {cores:.1f} of one core."]
    if any(row.partly for row in rows):
        lines.append("+: fits from before a change were found, and their minutes are not counted.")
    short = ", ".join(row.panel for row in rows if row.ranges < folds)
    return lines + ([f"Too short for {folds} validation ranges, and so judged on one: {short}."] if short else [])


def _markdown(rows: Sequence[Row], test: bool, ahead: bool) -> list[str]:
    text = ["panel", "measure", "network", "best baseline", "best of all", "network in front"]
    head = ["panel", "series", "rows", "measure", "network", "ridge", "best baseline", "best of all", "network in front"]
    head += ["gain %", "ranges", "minutes", "core minutes"]
    head += ["test: network", "ridge", "baseline"] if test else []
    head += ["test MASE: network", "ridge", "baseline", "steps ahead", "MASE: registered", "seasonal naive"] if ahead else []
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' if name in text else '---:' for name in head)}|"]
    return lines + [f"| {' | '.join(_cells(row, test, ahead))} |" for row in rows]


def _cells(row: Row, test: bool, ahead: bool) -> list[str]:
    three = (row.network, row.ridge, row.baseline)
    cells = [row.panel, str(row.series), f"{row.rows:,}", row.measure]
    cells += [_named(row.network), _figure(row.ridge.error if row.ridge else None), _named(row.baseline), _named(row.best)]
    cells += ["yes" if row.in_front else "no", "" if row.gain is None else f"{100 * row.gain:+.1f}"]
    more = "+" if row.partly else ""
    cells += [str(row.ranges), f"{row.minutes:.1f}{more}", f"{row.core_minutes:.1f}{more}"]
    cells += [_figure(model.test if model else None) for model in three] if test else []
    if ahead:
        beyond = row.ahead
        cells += [_figure(model.test_mase if model else None) for model in three]
        cells += [str(beyond.steps), _figure(beyond.registered), _figure(beyond.seasonal_naive)] if beyond else ["", "", ""]
    return cells


def _named(model: Model | None) -> str:
    return f"{model.name} {_figure(model.error)}" if model else ""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def facts_of(row: Row, test: bool) -> dict[str, Any]:
    """A row as JSON, without its test errors unless these are shown; of a generated table its MASE is."""
    content = asdict(row) | {"gain": row.gain, "in_front": row.in_front, "held_out": row.panel in HELD_OUT}
    hidden = () if test else ("test",) if row.panel in KINDS else ("test", "test_mase")
    for name in ("network", "ridge", "baseline", "best"):
        content[name] = content[name] and {key: value for key, value in content[name].items() if key not in hidden}
    return content
