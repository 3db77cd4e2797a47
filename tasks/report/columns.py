"""The columns of a leaderboard, shared by terminal, report, MLflow, model card and docs/comparison.md.

`rows`, in file order, holds every column; the tuples below say which ones each place shows, and in what
order.
"""

from dataclasses import dataclass
from enum import StrEnum

from params.section import MOST_FOLDS


class Form(StrEnum):
    """How the values of a column are written."""

    TEXT = "text"
    COUNT = "count"  # a whole number
    FIGURE = "figure"  # decimals chosen for the whole column
    SHARE = "share"  # a fraction, shown in percent
    CHANCE = "chance"  # a p value
    SECONDS = "seconds"
    RATE = "rate"  # thousands, without decimals
    SHORT = "short"  # three significant digits


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score, cost or fact of a row.

    `words`: its full name; `meaning`: what the name does not say.  `metric`: its name in MLflow, in a fit's
    run, if logged there.  `pixels`: its width in MLflow's table of runs, if shown.  `like`: the column whose
    decimals it takes, since they are read side by side.  `scaled`: null unless `evaluation.scaled`; `folds`:
    unless `split.folds` is above 1.
    """

    name: str
    heading: str
    form: Form = Form.FIGURE
    words: str = ""
    meaning: str = ""
    metric: str = ""
    pixels: int = 0
    like: str = ""
    scaled: bool = False
    folds: bool = False


OVER_SEEDS = "standard deviation over seeds (n - 1)"
OVER_SEVERAL_SEEDS = f"{OVER_SEEDS}; ? with one seed"
UNKNOWN_NOT_ZERO = f"{OVER_SEVERAL_SEEDS}: unknown, not zero"


def _spread(of: str, heading: str, words: str, meaning: str = OVER_SEEDS, scaled: bool = False) -> Column:
    """The column of the spread of another column over seeds."""
    name = f"{of}_spread"
    return Column(
        name=name, heading=heading, words=f"spread of the {words}", meaning=meaning, metric=name, like=of, scaled=scaled
    )


COLUMNS = (
    Column(name="rank", heading="#", form=Form.COUNT, words="place", meaning="by the validation error that chooses"),
    Column(name="name", heading="name", form=Form.TEXT, words="variant or baseline"),
    Column(name="kind", heading="kind", form=Form.TEXT, words="variant, ensemble or baseline"),
    Column(name="family", heading="family", form=Form.TEXT, words="architecture"),
    Column(name="seed", heading="seed", form=Form.COUNT, words="seed", meaning="of a variant with one fit"),
    Column(name="seeds", heading="seeds", form=Form.COUNT, words="fits that finished", meaning="empty: no seed changes it"),
    Column(
        name="val_score", heading="val score", words="validation error that ranks and chooses",
        meaning="in the measure of evaluation.choose_by, on the rows that the best baseline forecasts too",
        metric="best_val_score",
    ),
    Column(
        name="val_rows", heading="val rows", form=Form.COUNT, words="rows of validation that rank",
        meaning="with an actual, and a forecast of the model and of the best baseline",
    ),
    Column(
        name="val_skill", heading="val skill %", form=Form.SHARE, words="skill on validation",
        meaning="1 - val_score / that of the best baseline on the same rows",
    ),
    Column(
        name="val_mae", heading="val MAE", words="MAE on validation",
        meaning="mean absolute error over all rows that have an actual and a forecast; with several folds or seeds the mean of "
        "theirs", metric="best_val_mae", pixels=98,
    ),
    Column(
        name="val_score_fold_spread", heading="± folds", words="spread of the validation error over validation ranges",
        meaning="standard deviation over split.folds (n - 1); with several seeds the mean of theirs",
        metric="val_score_fold_spread", like="val_score", folds=True,
    ),
    Column(
        name="val_mae_fold_spread", heading="± folds, MAE", words="spread of the MAE over validation ranges",
        meaning="as val_score_fold_spread", metric="val_mae_fold_spread", like="val_mae", folds=True,
    ),
    Column(
        name="val_mae_spread", heading="± val", words="spread of the MAE on validation",
        meaning=UNKNOWN_NOT_ZERO, like="val_mae",
    ),
    Column(name="val_mase", heading="val MASE", words="MASE on validation", meaning="as test_mase"),
    Column(name="val_rmsse", heading="val RMSSE", words="RMSSE on validation", meaning="as test_rmsse"),
    Column(name="val_owa", heading="val OWA", words="OWA on validation", meaning="as test_owa"),
    Column(
        name="val_mae_scaled", heading="val MAE, scaled", words="scaled MAE on validation", meaning="as test_mae_scaled",
        metric="best_val_mae_scaled", scaled=True,
    ),
    Column(
        name="val_mse_scaled", heading="val MSE, scaled", words="scaled MSE on validation", meaning="as test_mse_scaled",
        metric="best_val_mse_scaled", scaled=True,
    ),
    Column(
        name="val_interval_score", heading="val int.", words="interval score on validation",
        meaning="mean over the intervals of 50 % and more, in seasonal naive errors of each series, on rows that the intervals "
        "were not calibrated on; it chooses how they are made, and no model", metric="best_val_interval_score",
    ),
    Column(
        name="test_mae_scaled", heading="MAE, scaled", words="scaled MAE",
        meaning="in standard deviations of each series' training rows (population; with evaluation.scaled: true)",
        metric="test_mae_scaled", scaled=True,
    ),
    Column(
        name="test_mse_scaled", heading="MSE, scaled", words="scaled MSE",
        meaning="mean squared error, in the same unit", metric="test_mse_scaled", scaled=True,
    ),
    _spread("test_mse_scaled", "± MSE", "scaled MSE", "standard deviation over seeds", scaled=True),
    Column(
        name="test_score", heading="test score", words="test error in the measure that ranks",
        meaning="as val_score; it chooses nothing", metric="test_score",
    ),
    _spread("test_score", "± score", "test score", OVER_SEVERAL_SEEDS),
    Column(
        name="test_rows", heading="test rows", form=Form.COUNT, words="rows of the test that are compared",
        meaning="with an actual, and a forecast of the model and of the best baseline, of which test_score is",
        metric="test_rows",
    ),
    Column(name="test_mae", heading="test MAE", words="MAE", meaning="as val_mae", metric="test_mae", pixels=78),
    _spread("test_mae", "±", "MAE", UNKNOWN_NOT_ZERO),
    Column(name="test_rmse", heading="RMSE", words="RMSE", meaning="root mean squared error", metric="test_rmse"),
    Column(
        name="test_mase", heading="MASE", words="MASE",
        meaning="mean over series of MAE / that of the in-sample seasonal naive of evaluation.season", metric="test_mase",
    ),
    Column(
        name="test_rmsse", heading="RMSSE", words="RMSSE",
        meaning="mean over series of RMSE / that of the in-sample seasonal naive of evaluation.season", metric="test_rmsse",
    ),
    Column(
        name="test_owa", heading="OWA", words="OWA",
        meaning="mean of sMAPE and MASE, each / that of Naive2 on the same rows (where evaluation.choose_by is owa)",
        metric="test_owa",
    ),
    Column(name="test_smape", heading="sMAPE %", words="sMAPE, %", meaning="percent, 0 to 200", metric="test_smape"),
    Column(
        name="test_bias", heading="bias", words="bias", meaning="mean of forecast minus actual", metric="test_bias",
        like="test_mae",
    ),
    Column(
        name="test_skill", heading="skill %", form=Form.SHARE, words="skill against the best baseline",
        meaning="1 - test_score / that of the best baseline on the same rows", metric="test_skill", pixels=88,
    ),
    Column(
        name="test_skill_naive", heading="to naive %", form=Form.SHARE, words="skill against the best naive",
        meaning="1 - MAE / MAE of the best of last value, drift and seasonal naive, on the rows that both forecast",
        metric="test_skill_naive",
    ),
    Column(
        name="test_interval_score_90", heading="int. 90", words="interval score of the 90 % interval",
        meaning="its mean width plus 20 times what lies outside: low is good; finds both what is too wide and what misses",
        metric="test_interval_score_90", pixels=160,
    ),
    _spread("test_interval_score_90", "± int.", "interval score", OVER_SEVERAL_SEEDS),
    Column(
        name="test_worst_fifth_coverage_90", heading="worst %", form=Form.SHARE,
        words="coverage of the 90 % interval in the worst fifth of the series",
        meaning="the lowest of five groups by mean size in the training rows; of every series, where fewer than ten",
        metric="test_worst_fifth_coverage_90", pixels=196,
    ),
    Column(
        name="test_worst_fifth_coverage_90_spread", heading="± worst", form=Form.SHARE,
        words="spread of the coverage of the worst fifth",
        meaning=OVER_SEEDS, metric="test_worst_fifth_coverage_90_spread",
    ),
    Column(
        name="test_coverage_90", heading="cover %", form=Form.SHARE, words="coverage of the 90 % interval",
        meaning="share of the actuals inside, ends included", metric="test_coverage_90",
    ),
    Column(
        name="test_coverage_80", heading="cover 80 %", form=Form.SHARE, words="coverage of the 80 % interval",
        meaning="empty where evaluation.levels has no 80; so are those of 90 and 95 without theirs", metric="test_coverage_80",
    ),
    Column(
        name="test_coverage_95", heading="cover 95 %", form=Form.SHARE, words="coverage of the 95 % interval",
        meaning="as test_coverage_80", metric="test_coverage_95",
    ),
    Column(
        name="test_width_90", heading="width", words="width of the 90 % interval", meaning="mean distance of its ends",
        metric="test_width_90", like="test_interval_score_90",
    ),
    Column(
        name="test_msis_95", heading="MSIS 95", words="mean scaled interval score of the 95 % interval",
        meaning="width plus 40 times what lies outside, over the mean change from one season to the next (evaluation.season) "
        "in all rows up to the cutoff; series weigh alike (as in the M4 competition)", metric="test_msis_95",
    ),
    _spread("test_msis_95", "± MSIS", "MSIS"),
    Column(
        name="test_wql", heading="WQL", words="weighted quantile loss",
        meaning="twice the pinball loss over the size of the actuals, the mean over the levels 0.1, 0.2 .. 0.9",
        metric="test_wql",
    ),
    _spread("test_wql", "± WQL", "WQL"),
    Column(
        name="test_crps", heading="CRPS", words="CRPS",
        meaning="twice the pinball loss of all levels, each weighing as much as lies nearest to it; in the unit of the target",
        metric="test_crps",
    ),
    _spread("test_crps", "± CRPS", "CRPS"),
    Column(
        name="test_lag", heading="lag", form=Form.SHORT, words="lag",
        meaning="rows by which the forecasts look late, in the middle of the steps; a copy of the last value is late by gap + "
        "step", metric="test_lag",
    ),
    Column(
        name="test_p_best", heading="p to best, Holm", form=Form.CHANCE,
        words="p of the difference to the best variant on validation, after Holm's correction",
        meaning="chance of such a difference if there were none: Diebold-Mariano, two-sided, raised since every row is tested "
        "against that one; differences.csv has it alone, too", metric="test_p_best_holm",
    ),
    Column(
        name="test_p_baseline", heading="p to baseline, Holm", form=Form.CHANCE,
        words="p of the difference to the best baseline, after Holm's correction",
        meaning="the same test against the best of all baselines on validation, raised since every row is tested against that; "
        "the conclusion has that of the highest variant alone, which was not chosen on test", metric="test_p_baseline_holm",
    ),
    Column(
        name="test_p_naive", heading="p to naive, Holm", form=Form.CHANCE,
        words="p of the difference to the best naive, after Holm's correction",
        meaning="the same test against the best of last value, drift and seasonal naive", metric="test_p_naive_holm",
    ),
    Column(
        name="train_seconds", heading="seconds", form=Form.SECONDS, words="training time", meaning="seconds of one fit",
        metric="train_seconds", pixels=106,
    ),
    Column(
        name="windows_per_second", heading="windows/s", form=Form.RATE, words="training speed", meaning="windows a second",
        metric="windows_per_second",
    ),
    Column(
        name="num_parameters", heading="weights", form=Form.COUNT, words="number of weights", metric="num_parameters",
    ),
    Column(name="weights_mb", heading="MB", words="size of the weights", meaning="megabytes", metric="weights_mb"),
    Column(
        name="forecast_ms_per_series", heading="ms/forecast", words="forecasting time", meaning="milliseconds of one window",
        metric="forecast_ms_per_series",
    ),
    Column(
        name="memory_half_life", heading="half-life", form=Form.COUNT, words="memory half-life",
        meaning="the newest rows that hold half of what moves the forecast", metric="memory_half_life",
    ),
    Column(
        name="receptive_field", heading="field", form=Form.COUNT, words="receptive field",
        meaning="the oldest row that moves the forecast", metric="receptive_field",
    ),
    Column(name="status", heading="status", form=Form.TEXT, words="finished, failed or left out"),
    Column(name="note", heading="note", form=Form.TEXT, words="what else is to be said"),
)  # fmt: skip
FOLDS = tuple(
    Column(
        name=f"{score}_fold_{number}", heading=f"fold {number}{mark}", words=f"{words} on validation range {number}",
        meaning=f"as {score}, of that range alone; the first is the oldest", metric=f"{score}_fold_{number}", like=score,
        folds=True,
    )
    for score, mark, words in (("val_score", "", "error that ranks"), ("val_mae", ", MAE", "MAE"))
    for number in range(1, MOST_FOLDS + 1)
)  # fmt: skip
OWN = "test_own_"  # columns of the measures from outside (`metrics:` in a run file)


def own_column(name: str) -> Column:
    """The column of a measure from outside."""
    own = name.removeprefix(OWN)
    return Column(name=name, heading=own, words=f"{own} on test", meaning="a measure of the run file's own", metric=name)


BY_NAME = {column.name: column for column in (*COLUMNS, *FOLDS)}


def column_named(name: str) -> Column:
    """A column by its name, one of the user's own measures included."""
    return own_column(name) if name.startswith(OWN) else BY_NAME[name]


NARROW = (
    "rank", "name", "val_mae", "test_mae", "test_mae_spread", "test_skill", "test_interval_score_90",
    "test_worst_fifth_coverage_90",
)  # fmt: skip
WIDE = (
    *NARROW[:3], "val_mae_fold_spread", *NARROW[3:5], "test_mse_scaled", "test_mae_scaled", "test_rmse", "test_mase",
    *NARROW[5:], "test_coverage_90", "test_wql",
    "train_seconds", "num_parameters",
)  # fmt: skip
ACCURACY = (
    "rank", "name", "seeds", "val_score", "val_mae", "val_mae_fold_spread", "test_score", "test_score_spread", "test_mae",
    "test_mae_spread", "test_rows", "test_skill", "test_p_best", "test_p_baseline", "test_interval_score_90",
    "test_worst_fifth_coverage_90", "test_coverage_90", "test_wql", "test_mse_scaled", "test_mse_scaled_spread",
    "test_mae_scaled", "test_rmse", "test_mase", "test_bias",
)  # fmt: skip
MORE = (
    "rank", "name", "val_rows", "val_skill", *(f"val_mae_fold_{number}" for number in range(1, MOST_FOLDS + 1)), "val_mase",
    "val_rmsse", "val_owa", "val_mse_scaled", "val_mae_scaled", "val_interval_score", "test_rmsse", "test_owa", "test_smape",
    "test_coverage_80", "test_coverage_95", "test_width_90", "test_interval_score_90_spread", "test_msis_95",
    "test_msis_95_spread", "test_wql_spread", "test_crps", "test_lag", "test_skill_naive", "test_p_naive",
)  # fmt: skip
COST = (
    "rank", "name", "family", "test_mae", "train_seconds", "windows_per_second", "forecast_ms_per_series", "num_parameters",
    "weights_mb", "memory_half_life", "receptive_field",
)  # fmt: skip
CARD = (
    "test_mae", "test_rmse", "test_mase", "test_smape", "test_bias", "test_skill", "test_interval_score_90",
    "test_coverage_80", "test_coverage_90", "test_coverage_95", "test_worst_fifth_coverage_90", "test_width_90",
    "test_msis_95", "test_wql", "test_crps",
)  # fmt: skip
DISTRIBUTION = (
    "test_coverage_80", "test_coverage_90", "test_coverage_95", "test_worst_fifth_coverage_90", "test_width_90",
    "test_interval_score_90", "test_msis_95", "test_wql", "test_crps",
)  # fmt: skip
IN_MLFLOW = (
    "val_mae", "test_mae", "test_skill", "test_interval_score_90", "test_worst_fifth_coverage_90", "train_seconds",
)  # fmt: skip
