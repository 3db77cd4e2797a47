"""The leaderboard as a frame, a terminal table, Markdown and HTML: words and layout."""

import math
import re
from collections.abc import Sequence
from typing import Literal

import polars as pl
from rich.table import Table
from rich.text import Text

from params.evaluation import Measure
from tasks.compare.board import LEVEL, Board, ScoreRow, Standing
from tasks.pages import NUMBER, Cell, Html, Row, table
from tasks.report.columns import (
    BY_NAME,
    COLUMNS,
    DISTRIBUTION,
    FOLDS,
    NARROW,
    OWN,
    WIDE,
    Column,
    Form,
    column_named,
    own_column,
)
from tasks.train.kind import Kind

Value = str | float | None
DTYPES: dict[Form, type[pl.DataType]] = {Form.TEXT: pl.String, Form.COUNT: pl.Int64}
SCHEMA = {column.name: DTYPES.get(column.form, pl.Float64) for column in COLUMNS}
SCORES: dict[str, str] = {
    "mae": "MAE", "mase": "MASE", "owa": "OWA", "rmsse": "RMSSE", "mae_scaled": "scaled MAE", "mse_scaled": "scaled MSE",
}  # fmt: skip
MAE = ("val_mae", "test_mae", "test_mae_spread", *(one.name for one in (*COLUMNS, *FOLDS) if one.folds and "_mae" in one.name))
INSTEAD = {name: name.replace("_mae", "_score") for name in MAE}  # if another error than the MAE ranks
UNSCALED, SCALED = "test_interval_score_90", "test_msis_95"
SAME = 1e-9
UNKNOWN = "?"  # the spread with one seed
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def columns_of(rows: Sequence[ScoreRow]) -> list[Column]:
    """Every column for some rows: `COLUMNS`, one per validation range if there are several, and measures of the user's."""
    own = sorted({name for row in rows for name in row.numbers if name.startswith(OWN)})
    folds = [column for column in FOLDS if any(column.name in row.numbers for row in rows)]
    return [*COLUMNS, *folds, *map(own_column, own)]


def frame(rows: Sequence[ScoreRow]) -> pl.DataFrame:
    """Rows in order, with the columns of `columns_of`; rows without scores have no rank."""
    schema = {column.name: DTYPES.get(column.form, pl.Float64) for column in columns_of(rows)}
    return pl.DataFrame(
        [{name: value_of(row, name, place) for name in schema} for place, row in enumerate(rows)], schema=schema
    )


def value_of(row: ScoreRow, column: str, place: int) -> Value:
    """A row's value in a column; `place`: its position, from 0."""
    values: dict[str, Value] = {
        "rank": None if row.score is None else place + 1,
        "name": row.name,
        "kind": str(row.kind),
        "family": row.family,
        "seed": row.seed,
        "seeds": row.seeds,
        "val_score": row.score,
        "status": str(row.status),
        "note": row.note,
    }
    if column in values:
        return values[column]
    value = row[column]
    return value if value is None or column_named(column).form is Form.COUNT else float(value)


def rendered(board: Board) -> list[dict[str, str]]:
    """The rows as text for people: a star marks the chosen one, `failed` replaces a score, null is empty."""
    columns = columns_of(board.rows)
    values = {column.name: [value_of(row, column.name, place) for place, row in enumerate(board.rows)] for column in columns}
    decimals = {column.name: _decimals(column, values) for column in columns}
    rows = []
    for place, row in enumerate(board.rows):
        cells = {column.name: _cell(column, values[column.name][place], decimals[column.name]) for column in columns}
        cells["name"] += " *" if row is board.chosen else " ~" if row.name in board.alike else ""
        for name in ("val_mae", "val_score"):
            cells[name] = cells[name] or cells["status"]
        if row.seeds == 1:
            cells |= {column.name: UNKNOWN for column in columns if column.name.endswith("_spread") and not column.folds}
        rows.append(cells)
    return rows


def _decimals(column: Column, values: dict[str, list[Value]]) -> int | None:
    """Decimals for a whole column, so that its points line up; None: use significant digits."""
    known = [abs(value) for value in values[column.like or column.name] if isinstance(value, float)]
    largest = max(known, default=None)
    if largest is None or (largest != 0 and not 0.1 <= largest < 1e6):
        return None
    return 3 if largest < 1000 else 1


def _cell(column: Column, value: Value, decimals: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return CONTROL.sub(" ", value)
    match column.form:
        case Form.COUNT:
            return f"{value:,}" if column.name == "num_parameters" else str(value)
        case Form.SHORT:
            return f"{value:,.3g}"
        case Form.RATE:
            return f"{value:,.0f}"
        case Form.SHARE:
            return f"{100 * value:.1f}"
        case Form.CHANCE:
            return "<.001" if value < 0.001 else f"{value:.3f}"
        case Form.SECONDS:
            return f"{value:,.1f}"
    return figure(value) if decimals is None else f"{value:.{decimals}f}"


def figure(value: float) -> str:
    """Three decimals for everyday sizes, otherwise four significant digits."""
    return f"{value:.3f}" if 0.1 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def remarks(board: Board, choose_by: Measure = "mae") -> list[str]:
    """What the figures do not say: the choice, the bar and the rows, failures with reasons, every note."""
    highest = board.best
    lines = [_choice(board), *([_measured(board, board.bar, choose_by)] if board.bar else [])]
    if highest and board.alike:
        lines.append(
            f"~ not told apart from {highest.name} on test (Diebold-Mariano, corrected for few origins; p above "
            f"{100 * LEVEL:.0f} % after Holm's correction for all that are tested against it)"
        )
    if any(row["test_mae_spread"] is not None or row.seeds == 1 for row in board.rows):
        lines.append("±: standard deviation over seeds; ? with one seed (--set training.seeds=3 shows it)")
    if any(row["test_worst_fifth_coverage_90"] is not None for row in board.rows):
        score = BY_NAME[SCALED if shown(board.rows, [UNSCALED], choose_by) == [SCALED] else UNSCALED]
        lines.append(
            f"{score.heading}: {score.words}, the lower the better; worst %: what the 90 % interval covers in the fifth of the "
            "series by size (of fewer than ten: in the series) where that is least"
        )
    folds = sum(column.name.startswith("val_mae") for column in columns_of(board.rows)[len(COLUMNS) :])
    if folds:
        lines.append(f"validation: means over {folds} ranges (split.folds), each trained for anew; ± folds: their deviation")
    named: dict[str, list[str]] = {}
    for row in board.rows:
        words = ": ".join(word for word in ("failed" if row.status is Standing.FAILED else "", row.note) if word)
        if words:
            named.setdefault(words, []).append(row.name)
    lines += [f"{', '.join(names)}: {words}" for words, names in named.items()]
    return [CONTROL.sub(" ", line) for line in lines]


def _choice(board: Board) -> str:
    if board.chosen is None:
        return "none is chosen: nothing was scored on validation"
    return f"* chosen on validation: {board.chosen.name}" + ("" if board.won else ", the best baseline: no variant beats it")


def _measured(board: Board, bar: ScoreRow, choose_by: Measure) -> str:
    """The reference of skill and scores: the bar, the error, and over how many rows."""
    rows = sorted({int(count) for row in board.rows if (count := row["test_rows"])})
    many = f"; on test {rows[0]:,}" + (f" to {rows[-1]:,}" if len(rows) > 1 else "") if rows else ""
    where = f"by {SCORES[choose_by]} on the rows that both forecast{many}"
    return f"best baseline: {bar.name}; skill is measured against it, {where}"


def shown(rows: Sequence[ScoreRow], columns: Sequence[str], choose_by: Measure = "mae") -> list[str]:
    """The columns without scaled scores, folds or intervals that no row has.

    If another error than the MAE ranks, it replaces the MAE, and the interval score is per unit of series if
    that measure is."""
    if choose_by != "mae" and SCALED not in columns and any(row[SCALED] is not None for row in rows):
        columns = [SCALED if name == UNSCALED else name for name in columns]
    differ = [split for split in ("val", "test") if any(_differ(row[f"{split}_mae"], row[f"{split}_score"]) for row in rows)]
    others = {name for name in INSTEAD.values() if name.startswith(tuple(differ))}
    names = []
    for name in columns:
        if name in INSTEAD.values() and name not in others:
            continue
        instead = INSTEAD.get(name, name)
        names.append(instead if instead in others and instead not in columns else name)
    some = {name for name in names if column_named(name).scaled or column_named(name).folds} | {*DISTRIBUTION}
    return [name for name in names if name not in some or any(row[name] is not None for row in rows)]


def _differ(score: float | None, other: float | None) -> bool:
    """Whether both are known and differ by more than rounding."""
    return score is not None and other is not None and not math.isclose(score, other, rel_tol=SAME)


def to_table(board: Board, width: int = 80, choose_by: Measure = "mae") -> Table:
    """The leaderboard for a terminal of `width` columns (more columns from 110 on), with remarks below."""
    caption = Text("\n".join(remarks(board, choose_by)))
    table = Table(title="Leaderboard", title_justify="left", caption=caption, caption_justify="left", box=None, pad_edge=False)
    columns = shown(board.rows, WIDE if width >= 110 else NARROW, choose_by)
    for name in columns:
        justify: Literal["left", "right"] = "left" if column_named(name).form is Form.TEXT else "right"
        table.add_column(column_named(name).heading, justify=justify, no_wrap=True, overflow="ellipsis")
    for row, cells in zip(board.rows, rendered(board), strict=True):
        style = "dim" if row.kind is Kind.BASELINE and row is not board.bar else ""
        style = "bold" if row is board.chosen else style
        table.add_row(*(Text(cells[column]) for column in columns), style=style)
    return table


def to_markdown(board: Board, columns: Sequence[str] = (), choose_by: Measure = "mae") -> str:
    """The leaderboard as a Markdown table with remarks; names cannot break out of their cells."""
    columns = shown(board.rows, columns or [column.name for column in columns_of(board.rows)], choose_by)
    lines = ["| " + " | ".join(column_named(name).heading for name in columns) + " |"]
    lines.append("|" + "|".join("---" if column_named(name).form is Form.TEXT else "---:" for name in columns) + "|")
    lines += ["| " + " | ".join(escaped(row[column]) for column in columns) + " |" for row in rendered(board)]
    return "\n".join([*lines, "", *(f"- {escaped(line)}" for line in remarks(board, choose_by))]) + "\n"


def escaped(text: str) -> str:
    """A text as plain text in Markdown: no markup of Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


def error_name(choose_by: Measure, target: str = "") -> str:
    """A measure's name, with the target if it is in the target's unit."""
    return SCORES[choose_by] + (f" ({target})" if target and choose_by == "mae" else "")


def tested(row: ScoreRow) -> str:
    """The column of a row's test error: the raw MAE if nothing else exists (lagline 0.2)."""
    return "test_mae" if row["test_score"] is None else "test_score"


def of_the_same_rows(row: ScoreRow, bar: ScoreRow, column: str, of: str = "test_skill") -> float | None:
    """The bar's score on the rows of a model, derived from its skill."""
    ours, skill = row[column], row[of]
    return bar[column] if ours is None or skill is None or skill == 1 else ours / (1 - skill)


def chance(p: float) -> str:
    """A p value as on the leaderboard."""
    return _cell(BY_NAME["test_p_naive"], p, None)


def against(ours: float, theirs: float) -> str:
    """How far an error is below or above another, in words."""
    share = 100 * (ours / theirs - 1) if theirs else 0.0 if not ours else math.inf
    return "level with" if abs(share) < 0.05 else f"{abs(share):.1f} % {'below' if share < 0 else 'above'}"


def to_html(board: Board, columns: Sequence[str], choose_by: Measure = "mae", most: int | None = None) -> Html:
    """Columns of the leaderboard as an HTML table, the chosen row marked, baselines muted.  `most`: rows."""
    columns = shown(board.rows, columns, choose_by)
    sides = {column: "" if column_named(column).form is Form.TEXT else NUMBER for column in columns}
    body = []
    for row, texts in list(zip(board.rows, rendered(board), strict=True))[:most]:
        looks = "quiet" if row.score is None or row.kind is Kind.BASELINE else ""
        looks = "chosen" if row is board.chosen else looks
        body.append(Row([Cell(texts[column], sides[column]) for column in columns], looks))
    return table([Cell(column_named(column).heading, sides[column]) for column in columns], body)
