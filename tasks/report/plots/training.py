"""Loss curves of one fit."""

from typing import TYPE_CHECKING

import polars as pl

from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, label, new_figure, whole_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_plot(losses: pl.DataFrame, name: str, best: float | None, unit: str) -> "Figure":
    """Training loss and validation MAE, one above the other, with the best marked.

    `losses`: train_loss, val_mae, and first the x axis: epoch, or the penalty of a closed form.
    """
    figure, (upper, lower) = new_figure(8, 5, rows=2, sharex=True)
    along = losses.columns[0]
    places = losses[along].to_numpy()
    mark = "o" if len(places) < 40 else None
    for ax, column, color in ((upper, "train_loss", ACTUAL), (lower, "val_mae", CHOSEN)):
        ax.plot(places, losses[column].to_numpy(), color=color, lw=1.6, marker=mark, ms=3)
        if best is not None:
            ax.axvline(best, color=BAR, lw=1, ls="--")
    lowest = losses.filter(pl.col(along) == best)["val_mae"] if best is not None else pl.Series(dtype=pl.Float64)
    if best is not None and len(lowest) and lowest[0] is not None:
        lower.plot([best], [lowest[0]], marker="o", ms=7, mfc="none", mec=BAR, mew=1.6, ls="")
        upper.set_title(f"best {along} {best:g}: val_mae {lowest[0]:.4g}", loc="right", color=BAR, fontsize=10)
    upper.set_ylabel("train_loss (scaled)")
    lower.set_ylabel(f"val_mae ({label(unit)})")
    lower.set_xlabel(along)
    if along == "epoch":
        whole_ticks(lower)
    else:
        lower.set_xscale("log")
    upper.set_title(f"{label(name)}: training", loc="left")
    figure.align_ylabels()
    return figure
