"""Loss curves of one fit."""

from typing import TYPE_CHECKING

import polars as pl

from tasks.report.plots.style import ACTUAL, CHOSEN, NAIVE, label, new_figure, whole_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_plot(losses: pl.DataFrame, name: str, best_epoch: int | None, unit: str) -> "Figure":
    """Training loss and validation MAE by epoch, one above the other.  `losses`: epoch, train_loss, val_mae."""
    figure, (upper, lower) = new_figure(8, 5, rows=2, sharex=True)
    epochs = losses["epoch"].to_numpy()
    mark = "o" if len(epochs) < 40 else None
    for ax, column, color in ((upper, "train_loss", ACTUAL), (lower, "val_mae", CHOSEN)):
        ax.plot(epochs, losses[column].to_numpy(), color=color, lw=1.6, marker=mark, ms=3)
        if best_epoch is not None:
            ax.axvline(best_epoch, color=NAIVE, lw=1, ls="--")
    best = losses.filter(pl.col("epoch") == best_epoch)["val_mae"] if best_epoch is not None else pl.Series(dtype=pl.Float64)
    if best_epoch is not None and len(best) and best[0] is not None:
        lower.plot([best_epoch], [best[0]], marker="o", ms=7, mfc="none", mec=NAIVE, mew=1.6, ls="")
        upper.set_title(f"best epoch {best_epoch}: val_mae {best[0]:.4g}", loc="right", color=NAIVE, fontsize=10)
    upper.set_ylabel("train_loss (scaled)")
    lower.set_ylabel(f"val_mae ({label(unit)})")
    lower.set_xlabel("epoch")
    whole_ticks(lower)
    upper.set_title(f"{label(name)}: training", loc="left")
    figure.align_ylabels()
    return figure
