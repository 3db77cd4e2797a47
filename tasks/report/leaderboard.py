"""The leaderboard as a frame, a terminal table, Markdown and a sentence: words and layout."""

import re
from collections.abc import Sequence
from typing import Literal

import polars as pl
from rich.table import Table
from rich.text import Text

from tasks.compare.board import LEVEL, Board, Difference, ScoreRow, Standing
from tasks.report.columns import BY_NAME, COLUMNS, NARROW, WIDE, Column, Form
from tasks.train.kind import Kind

Value = str | float | None
DTYPES: dict[Form, type[pl.DataType]] = {Form.TEXT: pl.String, Form.COUNT: pl.Int64}
SCHEMA = {column.name: DTYPES.get(column.form, pl.Float64) for column in COLUMNS}
# what evaluation.choose_by may name
SCORES = {
    "mae": "MAE",
    "mase": "MASE",
    "owa": "OWA",
    "rmsse": "RMSSE",
    "mae_scaled": "scaled MAE",
    "mse_scaled": "scaled MSE",
}
UNKNOWN = "?"  # the spread of one seed
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def frame(rows: Sequence[ScoreRow]) -> pl.DataFrame:
    """Rows in their order, a column each of `COLUMNS`; what has no score has no rank."""
    return pl.DataFrame(
        [{name: value_of(row, name, place) for name in SCHEMA} for place, row in enumerate(rows)], schema=SCHEMA
    )


def value_of(row: ScoreRow, column: str, place: int) -> Value:
    """What a row has in a column; `place`: where it stands, from 0."""
    own: dict[str, Value] = {
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
    if column in own:
        return own[column]
    value = row[column]
    return value if value is None or BY_NAME[column].form is Form.COUNT else float(value)


def rendered(board: Board) -> list[dict[str, str]]:
    """The rows as people read them, all text: a star at the chosen one, `failed` in place of a score, nothing for null."""
    values = {name: [value_of(row, name, place) for place, row in enumerate(board.rows)] for name in SCHEMA}
    decimals = {column.name: _decimals(column, values) for column in COLUMNS}
    rows = []
    for place, row in enumerate(board.rows):
        cells = {name: _cell(BY_NAME[name], values[name][place], decimals[name]) for name in SCHEMA}
        cells["name"] += " *" if row is board.chosen else " ~" if row.name in board.alike else ""
        cells["val_mae"] = cells["val_mae"] or cells["status"]
        if row.seeds == 1:
            cells |= {name: UNKNOWN for name in SCHEMA if name.endswith("_spread")}
        rows.append(cells)
    return rows


def _decimals(column: Column, values: dict[str, list[Value]]) -> int | None:
    """Decimals that suit a whole column, so that its points stand below each other; None: significant digits instead."""
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
    return _figure(value) if decimals is None else f"{value:.{decimals}f}"


def _figure(value: float) -> str:
    """Three decimals for everyday sizes, else four significant digits."""
    return f"{value:.3f}" if 0.1 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def remarks(board: Board) -> list[str]:
    """What the figures alone do not say: the choice, the best naive, what failed and why, every note."""
    best, naive, highest = board.chosen, board.naive, board.best
    lines = [
        f"* chosen on validation: {best.name}" if best else "none is chosen: no variant beats the best naive on validation"
    ]
    if naive:
        lines.append(f"best naive: {naive.name}; skill is measured against it, on the same rows")
    if highest and board.alike:
        lines.append(
            f"~ not told apart from {highest.name} on test (Diebold-Mariano, corrected for few origins; p above "
            f"{100 * LEVEL:.0f} % after Holm's correction for all that are tested against it)"
        )
    if any(row["test_mae_spread"] is not None or row.seeds == 1 for row in board.rows):
        lines.append("±: standard deviation over seeds; ? with one seed (--set training.seeds=3 shows it)")
    named: dict[str, list[str]] = {}
    for row in board.rows:
        words = ": ".join(word for word in ("failed" if row.status is Standing.FAILED else "", row.note) if word)
        if words:
            named.setdefault(words, []).append(row.name)
    lines += [f"{', '.join(names)}: {words}" for words, names in named.items()]
    return [CONTROL.sub(" ", line) for line in lines]


def shown(board: Board, columns: Sequence[str]) -> list[str]:
    """The columns without the scaled scores where a run has none; what ranks in place of the MAE where that is another."""
    ranked = any(_differ(row.score, row["val_mae"]) for row in board.rows)
    named = ["val_score" if name == "val_mae" and ranked else name for name in columns if name != "val_score"]
    return [name for name in named if not BY_NAME[name].scaled or any(row[name] is not None for row in board.rows)]


def _differ(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one != other


def to_table(board: Board, width: int = 80) -> Table:
    """The leaderboard for a terminal of `width` columns (more columns from 110 on), remarks below."""
    caption = Text("\n".join(remarks(board)))
    table = Table(title="Leaderboard", title_justify="left", caption=caption, caption_justify="left", box=None, pad_edge=False)
    columns = shown(board, WIDE if width >= 110 else NARROW)
    for name in columns:
        justify: Literal["left", "right"] = "left" if BY_NAME[name].form is Form.TEXT else "right"
        table.add_column(BY_NAME[name].heading, justify=justify, no_wrap=True, overflow="ellipsis")
    for row, cells in zip(board.rows, rendered(board), strict=True):
        style = "dim" if row.kind is Kind.BASELINE and row is not board.naive else ""
        style = "bold" if row is board.chosen else style
        table.add_row(*(Text(cells[column]) for column in columns), style=style)
    return table


def to_markdown(board: Board, columns: Sequence[str] = tuple(SCHEMA)) -> str:
    """The leaderboard as a Markdown table with its remarks; names cannot break out of their cells."""
    columns = shown(board, columns)
    lines = ["| " + " | ".join(BY_NAME[name].heading for name in columns) + " |"]
    lines.append("|" + "|".join("---" if BY_NAME[name].form is Form.TEXT else "---:" for name in columns) + "|")
    lines += ["| " + " | ".join(_markdown(row[column]) for column in columns) + " |" for row in rendered(board)]
    return "\n".join([*lines, "", *(f"- {_markdown(line)}" for line in remarks(board))]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


def sentence(board: Board, target: str = "", gain: Difference | None = None, choose_by: str = "mae") -> str:
    """In words: who won on validation, what the test says of it, how it stands to ridge and to the best naive, and if that is
    more than chance; `gain`: its MAE less the best naive's (None: unknown).

    The winner was not chosen on test, and so its p value stands for itself: nothing is to be corrected.
    """
    naive, best, highest = board.naive, board.chosen, board.best
    if naive is None:
        return "Nothing was scored."
    score = SCORES[choose_by] + (f" ({target})" if target and choose_by == "mae" else "")
    if best is None:
        nearest = f"; {highest.name} comes nearest with {_number(highest.score)}" if highest else ""
        floor = f"{naive.name}, whose validation {score} is {_number(naive.score)}"
        return f"No variant beats the best naive, {floor}{nearest}."
    won = f"{best.name} has the lowest validation {score} of all variants, {_number(best.score)}"
    ours = best["test_mae"]
    if ours is None:
        return f"{won}; the test has no row to score it on."
    ridge = next((row for row in board.rows if row.name == "ridge" and row is not best and row.score is not None), None)
    stands = [
        f"{_against(ours, theirs)} {words}{row.name} ({_figure(theirs)})"
        for row, words in ((naive, "the best naive, "), (ridge, ""))
        if row and (theirs := row["test_mae"])
    ]
    tail = f", {' and '.join(stands)}" if stands else ""
    return f"{won}; on test its MAE is {_figure(ours)}{tail}.{_real(naive.name, gain)}"


def headline(board: Board) -> str:
    """The outcome in a few words, for a line that is cut."""
    ours = board.chosen["test_mae"] if board.chosen else None
    theirs = board.naive["test_mae"] if board.naive else None
    if not board.chosen or not board.naive or ours is None or not theirs:
        return "no variant beats the best naive"
    return _markdown(f"{board.chosen.name}: MAE {_figure(ours)} on test, {_against(ours, theirs)} {board.naive.name}")


def _real(naive: str, gain: Difference | None) -> str:
    """Whether the difference to the best naive is more than chance; says so where there are too few origins to tell."""
    if gain is None:
        return ""
    if gain.p is None:
        return f" Whether its difference to {naive} is real cannot be said from {gain.count} {gain.over}."
    span = ""
    if gain.low is not None and gain.high is not None:
        span = f", 90 % of resampled {gain.over} between {gain.low:+.3g} and {gain.high:+.3g}"
    words = "is more than chance" if gain.p <= LEVEL else "may be chance"
    return f" Its difference to {naive} {words} (p {_chance(gain.p)} of this one test{span}).{_among(naive, gain)}"


def _among(naive: str, gain: Difference) -> str:
    """Why the p of the leaderboard is another one, where it is."""
    if gain.p_holm is None or gain.tested is None or gain.tested < 2:
        return ""
    among = f" As one of {gain.tested} that are tested against {naive} it has p {_chance(gain.p_holm)} after Holm's correction"
    return f"{among}, which the winner does not need: it was chosen on validation."


def _chance(p: float) -> str:
    return _cell(BY_NAME["test_p_naive"], p, None)


def _number(value: float | None) -> str:
    return "" if value is None else _figure(value)


def _against(ours: float, theirs: float) -> str:
    share = 100 * (ours / theirs - 1)
    return "level with" if abs(share) < 0.05 else f"{abs(share):.1f} % {'below' if share < 0 else 'above'}"
