"""The alignment probe: sends y_t = t through a run's own code; t + gap + k must return.

It uses an adding network instead of a trained one, so that any shift shows; it needs no data.
"""

from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import Scaling, fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows
from models.fit.job import Rule
from models.forecaster import Forecaster
from models.networks.contract import Network
from models.worker import forecast
from tasks.evaluate.forecasts import forecast_frame
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

STEP = 0.25  # largest accepted deviation of the ramp, in steps


class Successor(Network):
    """A network that reads the newest value of one feature, whatever its scaling, and counts on."""

    def __init__(self, params: WindowParams, scaling: Scaling, rule: Rule) -> None:
        super().__init__()
        name = "y" if "y" in params.features else next(iter(params.features))
        self.column, self.is_y = list(params.features).index(name), name == "y"
        self.own = scaling.loc[0, self.column], scaling.scale[0, self.column]
        self.y = scaling.y_loc[0], scaling.y_scale[0]
        self.rule, self.level = rule, len(params.channels) + len(params.features)  # index of the level input
        self.steps = params.features[name].delay + params.gap + 1 + torch.arange(params.horizon)

    def forward(self, x_BLN: Tensor) -> Tensor:
        """[B, L, N] -> [B, H]."""
        newest_BN = x_BLN[:, -1:].squeeze(1).double()
        level_B1, spread_B1 = torch.zeros(1), torch.ones(1)
        if self.rule.window != "none":
            level_B1 = newest_BN[:, self.level : self.level + 1]
        if self.rule.window == "revin":
            spread_B1 = newest_BN[:, self.level + 1 : self.level + 2]
        seen_B1 = newest_BN[:, self.column : self.column + 1]
        if self.is_y:
            seen_B1 = seen_B1 * spread_B1 + level_B1
        raw_B1 = seen_B1 * self.own[1] + self.own[0]
        if self.is_y and self.rule.target != "none":
            raw_B1 = raw_B1.expm1() if self.rule.target == "log1p" else raw_B1.sinh()
        y_BH = raw_B1 + self.steps
        y_BH = y_BH.log1p() if self.rule.target == "log1p" else y_BH.asinh() if self.rule.target == "asinh" else y_BH
        return (((y_BH - self.y[0]) / self.y[1] - level_B1) / spread_B1).float()


def find_shift(params: WindowParams, frequency: Frequency, rule: Rule, forward_fill: int, folder: Path) -> str | None:
    """How the forecasts of a run's windows are shifted, or None: y_t = t must return as t + gap + k."""
    size = params.reach + 1 + 3 * (params.ahead + 8)
    ramp = pl.int_range(size, dtype=pl.Int64, eager=True)
    first = pl.Series([0 if isinstance(frequency.span, int) else 1_700_006_400_000_000]).cast(frequency.dtype)
    frame = pl.DataFrame({"t": ramp}).select(
        pl.lit("ramp").alias("unique_id"),
        frequency.at(pl.lit(first), pl.col("t")).alias("ds"),
        *(pl.col("t").cast(pl.Float64).alias(name) for name in dict.fromkeys(["y", *params.features, *params.future])),
        *((pl.lit("a") if kind == "categorical" else pl.lit(1.0)).alias(name) for name, kind in _columns(params)),
    )
    panel = Panel.open(write_panel(frame.lazy(), params, frequency, forward_fill, folder))
    split = Split("rows", params.ahead + 8, params.ahead + 8)
    scaling = fit_scaling(panel, params, split, rule.per, rule.method, rule.target)
    categories = {name: len(values) for name, values in panel.categories.items()}
    stub = Forecaster(Successor(params, scaling, rule), params, scaling, rule.window, rule.target, categories).eval()
    windows = Windows(panel, params, origin_rows(panel, params, split, "test", 1))
    forecasts = forecast_frame(panel, windows, forecast(stub, windows), "stub").with_columns(
        ahead=frequency.position(pl.col("ds"), pl.col("cutoff")), at=frequency.position(pl.col("ds"), pl.lit(first))
    )
    wrong = forecasts.filter(
        ((pl.col("stub") - pl.col("at")).abs() > STEP)
        | (pl.col("y") != pl.col("at"))
        | (pl.col("ahead") != params.gap + pl.col("step"))
    )
    if not wrong.height:
        return None
    row = wrong.row(0, named=True)
    return f"a ramp comes back as {row['stub']:.2f} at step {row['step']} where {row['at']} belongs (cutoff {row['cutoff']})"


def _columns(params: WindowParams) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind in params.static.items() if name != "unique_id"]
