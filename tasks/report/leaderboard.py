"""The leaderboard as a frame, a terminal table, Markdown and a sentence; only words and layout, never a score."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import polars as pl
from rich.table import Table
from rich.text import Text

from tasks.compare.scores import NAIVES
from tasks.compare.significance import LEVEL

SCHEMA: dict[str, type[pl.DataType]] = {
    "rank": pl.Int64, "name": pl.String, "kind": pl.String, "family": pl.String, "seed": pl.Int64, "seeds": pl.Int64,
    "val_score": pl.Float64, "val_mae": pl.Float64, "val_mae_spread": pl.Float64, "val_mase": pl.Float64,
    "val_mae_scaled": pl.Float64, "val_mse_scaled": pl.Float64, "test_mae_scaled": pl.Float64, "test_mse_scaled": pl.Float64,
    "test_mse_scaled_spread": pl.Float64, "test_mae": pl.Float64, "test_mae_spread": pl.Float64,
    "test_rmse": pl.Float64, "test_mase": pl.Float64, "test_rmsse": pl.Float64, "test_smape": pl.Float64,
    "test_bias": pl.Float64, "test_skill": pl.Float64, "test_coverage_90": pl.Float64, "test_width_90": pl.Float64,
    "test_pinball": pl.Float64, "test_crps": pl.Float64, "test_scaled_crps": pl.Float64, "test_lag": pl.Float64,
    "test_p_best": pl.Float64, "test_p_naive": pl.Float64, "train_seconds": pl.Float64, "windows_per_second": pl.Float64,
    "num_parameters": pl.Int64, "weights_mb": pl.Float64, "forecast_ms_per_series": pl.Float64,
    "memory_half_life": pl.Int64, "receptive_field": pl.Int64, "status": pl.String, "note": pl.String,
}  # fmt: skip
HEADS = {
    "rank": "#", "name": "name", "kind": "kind", "family": "family", "seed": "seed", "seeds": "seeds",
    "val_score": "val score", "val_mae": "val MAE", "val_mae_spread": "± val", "val_mase": "val MASE",
    "val_mae_scaled": "val MAE, scaled",
    "val_mse_scaled": "val MSE, scaled", "test_mae_scaled": "MAE, scaled", "test_mse_scaled": "MSE, scaled",
    "test_mse_scaled_spread": "± MSE", "test_mae": "test MAE", "test_mae_spread": "±",
    "test_rmse": "RMSE", "test_mase": "MASE", "test_rmsse": "RMSSE", "test_smape": "sMAPE %",
    "test_bias": "bias", "test_skill": "skill %", "test_coverage_90": "cover %", "test_width_90": "width",
    "test_pinball": "pinball", "test_crps": "CRPS", "test_scaled_crps": "scaled CRPS", "test_lag": "lag",
    "test_p_best": "p (best)", "test_p_naive": "p (naive)", "train_seconds": "seconds", "windows_per_second": "windows/s",
    "num_parameters": "weights", "weights_mb": "MB", "forecast_ms_per_series": "ms/forecast",
    "memory_half_life": "half-life", "receptive_field": "field", "status": "status", "note": "note",
}  # fmt: skip
SHARES = ("test_skill", "test_coverage_90")  # kept as fractions, shown in percent
CHANCES = ("test_p_best", "test_p_naive")
SPREADS = ("val_mae_spread", "test_mae_spread", "test_mse_scaled_spread")
SCALED = tuple(name for name in SCHEMA if "_scaled" in name and name != "test_scaled_crps")  # null unless evaluation.scaled
# what evaluation.choose_by may name
SCORES = {"mae": "MAE", "mase": "MASE", "owa": "OWA", "mae_scaled": "scaled MAE", "mse_scaled": "scaled MSE"}
UNKNOWN = "?"  # the spread of one seed
NARROW = ("rank", "name", "val_mae", "test_mae", "test_mae_spread", "test_skill", "test_coverage_90", "train_seconds")
WIDE = (
    *NARROW[:5], "test_mse_scaled", "test_mae_scaled", "test_rmse", "test_mase", *NARROW[5:7], "test_crps", NARROW[-1],
    "num_parameters",
)  # fmt: skip
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def leaderboard(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Variants and baselines by `val_score` (else `val_mae`), lowest first; what has no score comes last, without a rank.

    Needs `name`, `kind` (variant or baseline) and `status`; other columns of SCHEMA may be missing (null), others are ignored.
    """
    columns = {name: dtype for name, dtype in SCHEMA.items() if name != "rank"}
    frame = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)
    frame = frame.with_columns(pl.col("^(val|test)_.*$").fill_nan(None), pl.col("note").fill_null(""))
    frame = frame.with_columns(pl.coalesce("val_score", "val_mae").alias("val_score"))
    ranked = frame.sort("val_score", nulls_last=True, maintain_order=True)
    rank = pl.when(pl.col("val_score").is_not_null()).then(pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    return ranked.with_columns(rank.alias("rank")).select(*SCHEMA)


def best_naive(board: pl.DataFrame) -> dict[str, Any] | None:
    """The row of the last value, drift or seasonal naive that stands highest."""
    return _first(board.filter((pl.col("kind") == "baseline") & pl.col("name").is_in(NAIVES)))


def best_variant(board: pl.DataFrame) -> dict[str, Any] | None:
    """The row of the variant that stands highest."""
    return _first(board.filter((pl.col("kind") == "variant") & (pl.col("status") == "finished")))


def chosen(board: pl.DataFrame) -> dict[str, Any] | None:
    """The row of the variant that stands highest, if it beats the best naive on validation."""
    best, naive = best_variant(board), best_naive(board)
    return best if best and naive and best["val_score"] < naive["val_score"] else None


def not_told_apart(board: pl.DataFrame) -> set[str]:
    """The variants that may be as good as the best: the difference on test is no more than chance makes."""
    return set(board.filter((pl.col("test_p_best") > LEVEL) & (pl.col("kind") == "variant"))["name"])


def _first(board: pl.DataFrame) -> dict[str, Any] | None:
    known = board.filter(pl.col("val_score").is_not_null()).sort("val_score", maintain_order=True)
    return known.row(0, named=True) if known.height else None


def rendered(board: pl.DataFrame) -> list[dict[str, str]]:
    """The rows as people read them, all text: a star at the chosen one, `failed` in place of a score, nothing for null."""
    best, alike = chosen(board), not_told_apart(board)
    # a bias near 0, and a spread, are read beside the error that they are part of
    beside = {"test_bias": "test_mae", "test_mae_spread": "test_mae", "val_mae_spread": "val_mae"}
    beside["test_mse_scaled_spread"] = "test_mse_scaled"
    decimals = {name: _decimals(board[beside.get(name, name)]) for name in SCHEMA}
    columns = {name: [_cell(name, value, decimals[name]) for value in board[name]] for name in SCHEMA}
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    for row, (name, seeds) in zip(rows, board.select("name", "seeds").iter_rows(), strict=True):
        row["name"] += " *" if best and name == best["name"] else " ~" if name in alike else ""
        row["val_mae"] = row["val_mae"] or row["status"]
        for spread in SPREADS if seeds == 1 else ():
            row[spread] = UNKNOWN
    return rows


def _decimals(column: pl.Series) -> int | None:
    """Decimals that suit a whole column, so that its points stand below each other; None: significant digits instead."""
    largest = column.abs().max() if column.dtype == pl.Float64 else None
    if not isinstance(largest, float) or (largest != 0 and not 0.1 <= largest < 1e6):
        return None
    return 3 if largest < 1000 else 1


def _cell(column: str, value: Any, decimals: int | None) -> str:
    if value is None:
        return ""
    if column in ("test_lag", "windows_per_second"):
        return f"{value:,.3g}" if column == "test_lag" else f"{value:,.0f}"
    if column in SHARES:
        return f"{100 * value:.1f}"
    if column in CHANCES:
        return "<.001" if value < 0.001 else f"{value:.3f}"
    if column == "train_seconds":
        return f"{value:,.1f}"
    if column == "num_parameters":
        return f"{value:,}"
    if isinstance(value, float):
        return _figure(value) if decimals is None else f"{value:.{decimals}f}"
    return CONTROL.sub(" ", str(value))


def _figure(value: float) -> str:
    """Three decimals for everyday sizes, else four significant digits."""
    return f"{value:.3f}" if 0.1 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def remarks(board: pl.DataFrame) -> list[str]:
    """What the figures alone do not say: the choice, the best naive, what failed and why, every note."""
    best, naive = chosen(board), best_naive(board)
    lines = [
        f"* chosen on validation: {best['name']}" if best else "none is chosen: no variant beats the best naive on validation"
    ]
    if naive:
        lines.append(f"best naive: {naive['name']}; skill is measured against it, on the same rows")
    highest = best_variant(board)
    if highest and not_told_apart(board):
        lines.append(
            f"~ not told apart from {highest['name']} on test (Diebold-Mariano, corrected for few origins; Holm; "
            f"{100 * LEVEL:.0f} %)"
        )
    if board["test_mae_spread"].is_not_null().any() or (board["seeds"] == 1).any():
        lines.append("±: standard deviation over seeds; ? with one seed (--set training.seeds=3 shows it)")
    told: dict[str, list[str]] = {}
    for name, status, note in board.select("name", "status", "note").iter_rows():
        words = ": ".join(word for word in ("failed" if status == "failed" else "", note) if word)
        if words:
            told.setdefault(words, []).append(name)
    lines += [f"{', '.join(names)}: {words}" for words, names in told.items()]
    return [CONTROL.sub(" ", line) for line in lines]


def shown(board: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns without the scaled scores where a run has none; what ranks in place of the MAE where that is another."""
    ranked = board.filter(pl.col("val_score") != pl.col("val_mae")).height
    named = ["val_score" if name == "val_mae" and ranked else name for name in columns if name != "val_score"]
    return [name for name in named if name not in SCALED or board[name].is_not_null().any()]


def to_table(board: pl.DataFrame, width: int = 80) -> Table:
    """The leaderboard for a terminal of `width` columns (more columns from 110 on), remarks below."""
    best, naive = chosen(board), best_naive(board)
    caption = Text("\n".join(remarks(board)))
    table = Table(title="Leaderboard", title_justify="left", caption=caption, caption_justify="left", box=None, pad_edge=False)
    columns = shown(board, WIDE if width >= 110 else NARROW)
    for column in columns:
        justify: Literal["left", "right"] = "left" if SCHEMA[column] is pl.String else "right"
        table.add_column(HEADS[column], justify=justify, no_wrap=True, overflow="ellipsis")
    for row, cells in zip(board.iter_rows(named=True), rendered(board), strict=True):
        style = "dim" if row["kind"] == "baseline" and not (naive and row["name"] == naive["name"]) else ""
        style = "bold" if best and row["name"] == best["name"] else style
        table.add_row(*(Text(cells[column]) for column in columns), style=style)
    return table


def to_markdown(board: pl.DataFrame, columns: Sequence[str] = tuple(SCHEMA)) -> str:
    """The leaderboard as a Markdown table with its remarks; names cannot break out of their cells."""
    columns = shown(board, columns)
    lines = ["| " + " | ".join(HEADS[column] for column in columns) + " |"]
    lines.append("|" + "|".join("---" if SCHEMA[column] is pl.String else "---:" for column in columns) + "|")
    lines += ["| " + " | ".join(_markdown(row[column]) for column in columns) + " |" for row in rendered(board)]
    return "\n".join([*lines, "", *(f"- {_markdown(line)}" for line in remarks(board))]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


def sentence(board: pl.DataFrame, target: str = "", gain: Mapping[str, Any] | None = None, choose_by: str = "mae") -> str:
    """In words: who won on validation, what the test says of it, how it stands to ridge and to the best naive, and if that is
    more than chance; `gain`: its MAE less the best naive's, with `p` and the 90 % interval `low`, `high` (None: unknown).

    The winner was not chosen on test, and so its p value stands for itself: nothing is to be corrected.
    """
    naive, best = best_naive(board), chosen(board)
    if naive is None:
        return "Nothing was scored."
    score = SCORES[choose_by] + (f" ({target})" if target and choose_by == "mae" else "")
    if best is None:
        highest = _first(board.filter(pl.col("kind") == "variant"))
        told = f"; {highest['name']} comes nearest with {_figure(highest['val_score'])}" if highest else ""
        floor = f"{naive['name']}, whose validation {score} is {_figure(naive['val_score'])}"
        return f"No variant beats the best naive, {floor}{told}."
    won = f"{best['name']} has the lowest validation {score} of all variants, {_figure(best['val_score'])}"
    if best["test_mae"] is None:
        return f"{won}; the test has no row to score it on."
    ridge = _first(board.filter((pl.col("name") == "ridge") & (pl.col("name") != best["name"])))
    stands = [
        f"{_against(best['test_mae'], row['test_mae'])} {told}{row['name']} ({_figure(row['test_mae'])})"
        for row, told in ((naive, "the best naive, "), (ridge, ""))
        if row and row["test_mae"]
    ]
    tail = f", {' and '.join(stands)}" if stands else ""
    return f"{won}; on test its MAE is {_figure(best['test_mae'])}{tail}.{_real(naive['name'], gain or {})}"


def headline(board: pl.DataFrame) -> str:
    """The outcome in a few words, for a line that is cut."""
    best, naive = chosen(board), best_naive(board)
    if not best or not naive or best["test_mae"] is None or not naive["test_mae"]:
        return "no variant beats the best naive"
    share = _against(best["test_mae"], naive["test_mae"])
    return _markdown(f"{best['name']}: MAE {_figure(best['test_mae'])} on test, {share} {naive['name']}")


def _real(naive: str, gain: Mapping[str, Any]) -> str:
    """Whether the difference to the best naive is more than chance; says so where there are too few origins to tell."""
    p, low, high, over = (gain.get(name) for name in ("p", "low", "high", "over"))
    if p is None:
        few = f"{gain['count']} {over}" if gain else ""
        return f" Whether its difference to {naive} is real cannot be said from {few}." if few else ""
    span = f", 90 % of resampled {over} between {low:+.3g} and {high:+.3g}" if low is not None and high is not None else ""
    words = "is more than chance" if p <= LEVEL else "may be chance"
    return f" Its difference to {naive} {words} (p {_cell('test_p_naive', p, None)}{span})."


def _against(ours: float, theirs: float) -> str:
    share = 100 * (ours / theirs - 1)
    return "level with" if abs(share) < 0.05 else f"{abs(share):.1f} % {'below' if share < 0 else 'above'}"
