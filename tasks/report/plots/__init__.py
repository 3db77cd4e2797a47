"""Pictures of a comparison as matplotlib Figures; never pyplot, whose state is shared by all threads, and never a score."""

from tasks.report.plots.cost import pareto_front, pareto_plot
from tasks.report.plots.differences import difference_plot
from tasks.report.plots.errors import accuracy_plot, slice_plot, step_plot
from tasks.report.plots.forecasts import forecast_plot, plotted, variant_forecast_plot
from tasks.report.plots.names import spread
from tasks.report.plots.residuals import autocorrelation, residual_plot
from tasks.report.plots.style import ACTUAL, CHOSEN, GRID, NAIVE, QUIET, file_name, save
from tasks.report.plots.training import loss_plot

__all__ = [
    "ACTUAL",
    "CHOSEN",
    "GRID",
    "NAIVE",
    "QUIET",
    "accuracy_plot",
    "autocorrelation",
    "difference_plot",
    "file_name",
    "forecast_plot",
    "loss_plot",
    "pareto_front",
    "pareto_plot",
    "plotted",
    "residual_plot",
    "save",
    "slice_plot",
    "spread",
    "step_plot",
    "variant_forecast_plot",
]
