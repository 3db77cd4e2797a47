"""The arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from flows.runtime.begin import a_future, a_name, a_picture, a_reason, a_reference, a_table, an_output
from params.errors import UserError

DEFAULT = Path("params/nyc_weather.yaml")
Params = Annotated[Path, typer.Argument(metavar="PARAMS", help="The run file (YAML), such as params/nyc_weather.yaml.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Overrides one value of the run file; may be repeated: training.max_epochs=3."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", callback=a_name, help="The name in the run file, such as nyc-weather.")]
Registered = Annotated[
    str,
    typer.Argument(
        metavar="NAME@VERSION",
        callback=a_reference,
        help="Such as nyc-weather@champion, nyc-weather@challenger or nyc-weather@3.",
    ),
]
AllowDirty = Annotated[bool, typer.Option("--allow-dirty", help="Also a version that was trained by changed code.")]
AllowChance = Annotated[
    bool, typer.Option("--allow-chance", help="Also a first champion whose lead over the best baseline may be chance.")
]
Unsealed = Annotated[
    bool, typer.Option("--unsealed", help="Also a version that an earlier lagline registered, without a seal on its files.")
]
Minutes = Annotated[
    float | None,
    typer.Option("--timeout", metavar="MINUTES", help="In place of promotion.timeout_minutes of the version's params."),
]
Reason = Annotated[
    str,
    typer.Option(
        "--reason", metavar="WORDS", callback=a_reason, help="The reason, kept in the entry of the ledger with who decided."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Table = Annotated[
    str,
    typer.Option("--data", metavar="TABLE", callback=a_table, help="A table like the one that it was trained on."),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="FILE", callback=an_output, help="Where the forecasts go: .parquet or .csv.")
]
COLUMNS = "A[,B]"
TargetColumn = Annotated[str | None, typer.Option("--target", metavar="NAME", help="The column to forecast.")]
IdColumns = Annotated[
    list[str] | None,
    typer.Option("--id", metavar=COLUMNS, help="The columns that name a series; may be repeated, as those below."),
]
TimeColumns = Annotated[
    list[str] | None, typer.Option("--time", metavar=COLUMNS, help="The column, or columns, that say the time.")
]
TimeFormat = Annotated[
    str | None, typer.Option("--time-format", metavar="FORMAT", help="How text says a time, such as '%d/%m/%Y %H:%M'.")
]
TimeZone = Annotated[
    str | None, typer.Option("--time-zone", metavar="ZONE", help="Whose clocks local times are of, such as Europe/Berlin.")
]
Horizon = Annotated[str | None, typer.Option("--horizon", metavar="N|28d", help="Steps to forecast, or a duration.")]
FutureColumns = Annotated[
    list[str] | None,
    typer.Option("--future", metavar=COLUMNS, help="Columns that are known ahead, up to the last step forecast."),
]
CsvForm = Annotated[
    str | None, typer.Option("--csv", metavar="FORM", help="How its text is written, such as '{separator: ;, decimal: \",\"}'.")
]
StaticColumns = Annotated[
    list[str] | None, typer.Option("--static", metavar=COLUMNS, help="Columns that are constant for a series.")
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", callback=a_picture, help="Draw history, forecasts and intervals: .html or .png."),
]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Forecast at every cutoff from here on.")]
Stride = Annotated[int, typer.Option("--stride", metavar="N", min=1, help="With --from: rows between two cutoffs.")]
Levels = Annotated[
    str,
    typer.Option("--levels", metavar="80,95", help="Intervals, in percent: yhat-lo-80, yhat-hi-80 and so on."),
]
Quantiles = Annotated[
    str | None,
    typer.Option("--quantiles", metavar="0.1,0.9", help="Quantiles besides: yhat-q-0.1 and so on."),
]
Nixtla = Annotated[bool, typer.Option("--nixtla", help="Under unique_id and ds, not under the table's own names.")]
Series = Annotated[str | None, typer.Option("--series", metavar="A,B", help="With --plot: the series that it shows.")]
Forecasts = Annotated[
    Path | None, typer.Option("--forecast", metavar="FILE", help="Write the champion's forecasts there after each run.")
]
Judged = Annotated[
    bool, typer.Option("--judged", help="By the weights that have not seen the test range, not those trained on all rows.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Leave out or refuse what the version itself cannot forecast.")]
Future = Annotated[
    str | None,
    typer.Option("--future", metavar="FILE", callback=a_future, help="What is known ahead, as a table of its own."),
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="Of MLflow's pages; by default 5000 or the next free one."),
]
Edges = Annotated[str, typer.Option("--edges", metavar="keep|drop", help="Keep or drop rows that reach beyond a series.")]
Rolling = Annotated[
    str, typer.Option("--rolling", metavar="24,168", help="Add the means of each feature's newest rows: `{feature}_mean24`.")
]
OnlyVariants = Annotated[
    str | None, typer.Option("--variants", metavar="A,B|all", help="These variants only, or all that there are.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Train again, including what was trained before.")]
BestTrials = Annotated[
    int | None, typer.Option("--tuned", metavar="K", min=1, max=100, help="Also the best K trials of the last `tune`.")
]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="fast|good|best", help="How much is tried: variants, tuning, seeds, validation ranges."),
]
AllMinutes = Annotated[
    float | None,
    typer.Option("--minutes", metavar="M", min=0.1, max=10**6, help="Cut a preset (by default `good`) to so many minutes."),
]
SearchMinutes = Annotated[
    float | None,
    typer.Option("--minutes", metavar="M", min=0.01, max=10**6, help="Begin no trial after so many minutes of search in all."),
]
Trials = Annotated[
    int | None, typer.Option("--trials", metavar="N", min=1, max=10**5, help="So many trials in all, those before included.")
]
Folds = Annotated[
    int | None, typer.Option("--folds", metavar="N", min=1, help="Validation ranges, in place of split.folds of the run.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the draws; the same gives the same trials.")]
VariantFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="In place of params/variants/NAME_tuned.yaml, of one variant.")
]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", min=1, help="Judge this version instead of the challenger.")
]
OwnTable = Annotated[str, typer.Argument(metavar="DATA", help="A table: a file, a folder, a 'glob' or an address.")]
RunFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The run file; by default named after the table, here.")
]
Melt = Annotated[
    bool, typer.Option("--melt", help="Write a wide table (one column or row per series) in long form, next to the run file.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]


def lag_spans(edges: str, rolling: str) -> tuple[int, ...]:
    """The rows of `--rolling`, each once, where `--edges` is a word that there is.  Raises UserError."""
    if edges not in ("keep", "drop"):
        raise UserError(f"--edges {edges}: write keep or drop")
    spans = [span.strip() for span in rolling.split(",") if span.strip()]
    if not all(span.isascii() and span.isdigit() and 0 < int(span) <= 10**6 for span in spans):
        raise UserError(f"--rolling {rolling}: write whole numbers of rows from 1 on, such as 24,168")
    return tuple(dict.fromkeys(map(int, spans)))
