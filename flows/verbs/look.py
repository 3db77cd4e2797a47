"""The verbs that only look: validate, lags, variants, leaderboard; they train nothing and register nothing."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from models.data.panel import Panel
from params.errors import ChecksFailed, UserError
from params.load import load_run, load_variant, variant_names, variants_setting
from tasks.grid.frequency import Frequency
from tasks.lags.file import write_lag_table
from tasks.lags.panel import write_panel
from tasks.lags.table import first_series, head_text, lag_head
from tasks.load.source import long_frame
from tasks.prune import prune
from tasks.report import leaderboard as report
from tasks.tracking import connection, logs, runs
from tasks.train.check import check_shared, check_variant, measured_field
from tasks.train.device import choose_device, concurrent_fits
from tasks.validate.report import failure_message, report_lines, report_table
from tasks.validate.suite import validate

DEFAULT = Path("params/nyc_weather.yaml")
HEADS = 10  # series whose first rows are printed


def show_checks(params: Path, settings: list[str]) -> None:
    """Prints the report of the data checks.  Raises ChecksFailed where they fail."""
    verdict = validate(load_run(params, settings))
    console = Console()
    console.print(report_table(verdict))
    for line in report_lines(verdict):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not verdict.passed:
        raise ChecksFailed("the data checks failed")


def show_lags(
    home: Path, params: Path, settings: list[str], out: Path | None, head: bool, edges: Any, rolling: tuple[int, ...]
) -> None:
    """Prints the head of the lag table of the first series, or writes the whole as Parquet in bounded memory.

    The windows are those of compare: the checks run first, and what they leave out is left out here.  Raises ChecksFailed
    where they fail.
    """
    run = load_run(params, settings)
    if out is not None and not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    verdict = validate(run)
    if not verdict.passed:
        raise ChecksFailed(failure_message(verdict))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in report_lines(verdict):
        console.print(line, markup=False)
    frame = long_frame(run, {"dropped_features": verdict.dropped_features, "dropped_series": verdict.dropped_series})
    windows, frequency = run.windows.window_params().without(verdict.dropped_features), Frequency(run.data.frequency)
    windows = replace(windows, start_padding=0)  # the rows of a table are those of the data
    with TemporaryDirectory(prefix=".lags-", dir=home) as scratch:  # a head needs a panel of the series shown and no more
        panels, frame = (Path(scratch), first_series(frame, HEADS)) if out is None else (home / "panels", frame)
        with console.status("writing the panel ..."):
            panel = Panel.open(write_panel(frame, windows, frequency, run.windows.forward_fill, panels))
        if head:
            print(head_text(lag_head(panel, windows, edges, rolling, rows=10, series=HEADS)))
            more = verdict.facts["series"] - len(verdict.dropped_series) - HEADS
            if more > 0:
                console.print(f"... and {more:,} more series", markup=False)
        if out is not None:
            with _row_count(console) as told:
                written = write_lag_table(panel, windows, out, edges, rolling, told=told)
            console.print(f"{out}: {written.rows:,} rows, {written.columns} columns", markup=False)


@contextmanager
def _row_count(console: Console) -> Iterator[Callable[[int, int], None]]:
    """How far a long table is: a line that changes on a terminal, elsewhere a line every ten seconds."""
    started = said = time.monotonic()
    with console.status("writing rows ...") as status:

        def told(done: int, rows: int) -> None:
            nonlocal said
            now = time.monotonic()
            text = f"writing rows: {done:,} of {rows:,}, about {(now - started) * (rows / done - 1):.0f} s left"
            status.update(text)
            if not console.is_terminal and now - said >= 10:
                said = now
                console.print(text, markup=False)

        yield told


def show_variants(as_json: bool) -> None:
    """Every variant with its family, parameters and measured receptive field on the shipped data's windows, and its purpose."""
    run = load_run(DEFAULT)
    windows = run.windows.window_params()
    rows: list[dict[str, Any]] = []
    for name in variant_names():
        variant = load_variant(name, DEFAULT)
        parameters, field = check_variant(variant, windows), measured_field(variant, windows)
        about = {"name": name, "family": variant.family, "parameters": parameters, "receptive_field": field}
        rows.append(about | {"about": variant.about})
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    title = f"Variants, sized for {DEFAULT}: lookback {windows.lookback}, horizon {windows.horizon} (field: in samples)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column, side in (("name", "left"), ("family", "left"), ("parameters", "right"), ("field", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("what it is for")
    for row in rows:
        table.add_row(row["name"], row["family"], f"{row['parameters']:,}", str(row["receptive_field"]), row["about"])
    Console().print(table)


def leaderboard_of(name: str, run_id: str | None = None) -> dict[str, Any]:
    """What a comparison (the last finished one of a name) found: chosen, naive, sentence, unit, rows, and its run."""
    run_id = run_id or runs.last_comparison(name).info.run_id
    facts: dict[str, Any] = json.loads(logs.artifact(run_id, "leaderboard.json").read_text())
    return facts | {"run": run_id}


def show_leaderboard(home: Path, name: str, as_json: bool) -> None:
    """Prints the last comparison of a name."""
    connection.connect(home)
    facts = leaderboard_of(name)
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        print_leaderboard(facts)


def print_leaderboard(facts: dict[str, Any]) -> None:
    """The table, what it means in a sentence, and where to look."""
    console = Console()
    board = report.leaderboard(facts["rows"])
    console.print(report.to_table(board, console.width))
    told = report.sentence(board, facts["unit"], facts.get("gain"), facts.get("choose_by", "mae"))
    console.print(told, soft_wrap=True, highlight=False)


def show_comparison(found: dict[str, Any]) -> None:
    """What a comparison ends with: the leaderboard, what was registered, and where to look next."""
    print_leaderboard(leaderboard_of(found["name"], found["parent"]))
    console = Console(highlight=False, soft_wrap=True)
    registered = found.get("registered", {})
    if found.get("unchanged"):
        console.print("Nothing has changed since this comparison: nothing was trained or registered (--fresh trains anew).")
    elif registered["version"] is None:
        why = registered.get("why", "no variant beats the best naive forecast on validation")
        console.print(f"Nothing was registered: {why}.", markup=False)
    elif registered["new"]:
        console.print(f"Registered as {found['name']} version {registered['version']}, alias challenger.")
    else:
        console.print(f"The same fit is {found['name']} version {registered['version']} already: no new version.")
    console.print(f"Look: python -m flows ui   (the report of run {found['parent']}: report.html)", markup=False)
    if registered.get("version"):
        console.print(f"Next: python -m flows promote {found['name']} --dry-run", markup=False)


def show_prune(home: Path, keep: int, dry_run: bool) -> None:
    """Removes what nothing refers to, and says what: files of one folder, and runs of one experiment, in one line."""
    connection.connect(home)
    plan = prune(home, keep, dry_run)
    console = Console(highlight=False, soft_wrap=True)
    lines: dict[Path, list[int]] = {}
    for path, size in plan.paths:
        lines.setdefault(path.parent if path.parent.parent == home / "served" else path, []).append(size)
    for path, sizes in lines.items():
        count = f": {len(sizes)} served forecasts" if path.parent == home / "served" else ""
        console.print(f"  {sum(sizes) / 1e6:10,.1f} MB  {path}{count}", markup=False)
    for name, number in Counter(name for name, _ in plan.runs).items():
        console.print(f"  {number:10,} MLflow runs of {name}", markup=False)
    verb = "would be removed" if dry_run else "removed"
    told = f"{len(plan.paths)} folders and files ({plan.size / 1e6:,.1f} MB) and {len(plan.runs)} MLflow runs {verb}."
    console.print(told, markup=False)


def only_those_that_fit(params: Path, settings: list[str], say: Callable[[str], None]) -> list[str]:
    """The settings without the variants whose structure does not allow the run's windows; says which and why.

    Raises UserError where none is left.
    """
    run, fitting, last = load_run(params, settings), [], None
    for name in run.variants:
        try:
            check_variant(load_variant(name, params, settings), run.windows.window_params())
            fitting.append(name)
        except UserError as error:
            last = error
            say(f"  left out: {error}")
    if last is not None and not fitting:
        raise last
    return [*settings, variants_setting(fitting)]


def check_params(params: Path, settings: list[str]) -> None:
    """Reads the whole run and builds every variant without memory, before any data is read.  Raises UserError."""
    run = load_run(params, settings)
    choose_device()
    concurrent_fits(run.training.threads, choose_device())
    variants = [load_variant(name, params, settings) for name in run.variants]
    check_shared(variants)
    for variant in variants:
        check_variant(variant, run.windows.window_params())
