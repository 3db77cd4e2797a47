"""The command line, `python -m flows VERB`: parses arguments, prepares the environment and calls a flow.

Exit status: 0 success, 1 the answer is no, 2 an error that the user can correct, 130 interrupted,
143 and 129 shut down cleanly on SIGTERM and SIGHUP.
"""

from pathlib import Path
from typing import Annotated

import typer

from flows.runtime import arguments as arg
from flows.runtime.begin import leave, open_home, read_plan, read_run, some_numbers, with_variants
from flows.runtime.garbage import collect_rarely
from flows.runtime.outcome import status_of
from flows.verbs import decisions, family, parcel, scheduled, watch

app = typer.Typer(
    name="python -m flows",
    help="lagline: from a table of time series to a forecaster that may be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main(
    context: typer.Context, debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False
) -> None:
    """lagline: from a table of time series to a forecaster that may be trusted."""
    context.obj.debug = debug


@app.command()
def init(
    data: arg.OwnTable,
    out: arg.RunFile = None,
    melt: arg.Melt = False,
    force: arg.Force = False,
    target: arg.TargetColumn = None,
    ids: arg.IdColumns = None,
    times: arg.TimeColumns = None,
    time_format: arg.TimeFormat = None,
    time_zone: arg.TimeZone = None,
    horizon: arg.Horizon = None,
    future: arg.FutureColumns = None,
    static: arg.StaticColumns = None,
    csv: arg.CsvForm = None,
) -> None:
    """Look at a table of your own and write a commented run file for it, which runs as it is; what is not said is guessed."""
    open_home()
    from flows.verbs.init import make_run_file
    from tasks.explore.asked import Asked

    options = {"ids": ids, "times": times, "future": future, "static": static}
    columns = {name: tuple(words or ()) for name, words in options.items()}
    asked = Asked(target=target, horizon=horizon, time_format=time_format, time_zone=time_zone, csv=csv, **columns)
    make_run_file(data, out, melt, force, asked)


@app.command()
def compare(
    context: typer.Context,
    params: arg.Params = arg.DEFAULT,
    settings: arg.Set = None,
    variants: arg.OnlyVariants = None,
    fresh: arg.Fresh = False,
    tuned: arg.BestTrials = None,
    preset: arg.PresetName = None,
    minutes: arg.AllMinutes = None,
) -> None:
    """Check the data, cut windows, train every variant, score them side by side, register the best as challenger.

    With --preset, or --minutes, also tune the best variants, over as many seeds and validation ranges as there is time for.
    """
    context.obj.continues = not fresh  # with --fresh, every start trains from scratch
    plan = read_plan(params, with_variants(settings, variants))
    home = open_home()
    if preset is not None or minutes is not None:
        from flows.verbs.preset import Asked, show_compared

        show_compared(home, plan, Asked(preset, minutes, tuned, variants is not None, fresh))
        return
    if tuned is not None:
        from flows.verbs.tune import with_tuned

        plan = with_tuned(plan, home, tuned)
    from flows.started import run_comparison

    comparison = run_comparison(home, plan, fresh, (variants or "").strip() == "all")
    from flows.verbs.runs import show_comparison

    show_comparison(comparison)


@app.command()
def tune(
    context: typer.Context,
    params: arg.Params = arg.DEFAULT,
    settings: arg.Set = None,
    variants: arg.OnlyVariants = None,
    minutes: arg.SearchMinutes = None,
    trials: arg.Trials = None,
    folds: arg.Folds = None,
    seed: arg.Seed = 0,
    out: arg.VariantFile = None,
) -> None:
    """Search better values for variants that have a `search:`, judged on validation alone; write the best as variants.

    Without --minutes and --trials: for 30 minutes. The same command goes on where an interrupted or killed one was.
    """
    context.obj.continues = True
    above = [*with_variants(settings, variants), *([f"split.folds={folds}"] if folds else [])]
    plan = read_plan(params, above)
    home = open_home()
    from flows.verbs.tune import search

    search(home, plan, named=variants is not None, minutes=minutes, trials=trials, seed=seed, out=out)


@app.command()
def validate(params: arg.Params = arg.DEFAULT, settings: arg.Set = None) -> None:
    """Only the checks: a readable report; exit status 1 where they fail."""
    run = read_run(params, settings)
    open_home()
    from flows.verbs.data import show_checks

    show_checks(run)


@app.command()
def lags(
    params: arg.Params = arg.DEFAULT,
    settings: arg.Set = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the table: .parquet or .csv.")] = None,
    head: Annotated[bool, typer.Option("--head", help="Print the first rows of each series (of ten at most).")] = False,
    edges: arg.Edges = "keep",
    rolling: arg.Rolling = "",
) -> None:
    """The windows as a table for people: `{feature}_lag{k}` and `y_step{h}` columns; without --out, its first rows."""
    spans = arg.lag_spans(edges, rolling)
    run = read_run(params, settings, trains=False)
    home = open_home()
    from flows.verbs.data import show_lags

    show_lags(home, run, out, head or out is None, edges, spans)


@app.command()
def variants(as_json: arg.Json = False) -> None:
    """The zoo as a table: name, family, parameters, receptive field, what it is for."""
    from flows.verbs.variants import show_variants

    show_variants(as_json)


@app.command()
def leaderboard(name: arg.Name, as_json: arg.Json = False) -> None:
    """The last comparison of a name, as a table."""
    home = open_home()
    from flows.verbs.runs import show_leaderboard

    show_leaderboard(home, name, as_json)


app.command("promote")(decisions.promote)
app.command("rollback")(decisions.rollback)
app.command("history")(decisions.history)


@app.command()
def reproduce(version: arg.Registered) -> None:
    """Train a registered version again from its fingerprint; exit status 1 where other weights come out."""
    home = open_home()
    from flows.verbs.reproduce import show_reproduction

    show_reproduction(home, version)


app.command("export")(parcel.export_version)
app.command("import")(parcel.import_version)
app.command("check-family")(family.check_family)
app.command("check-baseline")(family.check_baseline)


@app.command()
def forecast(
    version: arg.Registered,
    data: arg.Table,
    out: arg.Out,
    future: arg.Future = None,
    start: arg.From = None,
    stride: arg.Stride = 1,
    levels: arg.Levels = "90",
    quantiles: arg.Quantiles = None,
    judged: arg.Judged = False,
    strict: arg.Strict = False,
    nixtla: arg.Nixtla = False,
    plot: arg.Plot = None,
    series: arg.Series = None,
) -> None:
    """Forecast with a registered version: the table's own id and time columns, cutoff, yhat, its intervals, and the model.

    A series that the version cannot forecast is forecast by the best baseline that its history allows: see its column model.
    """
    home = open_home()
    from flows.verbs.forecast import show_forecast
    from tasks.serve.forecast import Asked

    asked = Asked(
        start=start, stride=stride, judged=judged, strict=strict, future=future, nixtla=nixtla, plot=plot, series=series,
        levels=some_numbers("--levels", levels), quantiles=some_numbers("--quantiles", quantiles),
    )  # fmt: skip
    show_forecast(home, version, data, out, asked)


app.command("watch")(watch.watch_version)
app.command("retrain")(scheduled.retrain)
app.command("serve")(scheduled.serve)


@app.command()
def engine(as_json: arg.Json = False) -> None:
    """Where fits run (LAGLINE_ENGINE: local or ray), what there is and fits there, and how far away it is."""
    from flows.verbs.engine import show_engine

    show_engine(as_json)


@app.command()
def prune(
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=0, help="Newest comparisons of each name that stay whole.")
    ] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name what would go, and remove nothing.")] = False,
) -> None:
    """Remove what no registered version, no newest comparison and nothing running refers to.

    Whole comparisons stay where they are among the newest of their name, or made the champion or the challenger. Of any other
    registered version its run, data and fit stay, so that it can be rolled back to and trained again; the losers' runs and fits
    and all forecasts go. Of the forecasts that were served those stay that are not scored yet, and the newest 400.
    """
    home = open_home()
    from flows.verbs.prune import show_prune

    show_prune(home, keep, dry_run)


@app.command()
def ui(
    port: arg.Port = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser on the newest comparison.")] = False,
) -> None:
    """Serve MLflow's and Prefect's pages of LAGLINE_HOME, on this machine only, by links with keys; Ctrl-C ends both."""
    home = open_home()
    from flows.verbs.ui import show_pages

    show_pages(home, port, open_browser)


def run() -> int:
    """Runs the command line; returns its exit status."""
    collect_rarely()
    return status_of(app)


if __name__ == "__main__":
    leave(run())
