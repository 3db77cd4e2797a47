"""What a comparison found, put where people look: tables, pictures, a report and the forecast frame; computes no score."""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Data
from params.schema import RunParams
from tasks.compare import scores
from tasks.compare.compare import Comparison, compare
from tasks.compare.significance import LEVEL, Difference
from tasks.evaluate.intervals import COVERAGE
from tasks.report import leaderboard as report
from tasks.report import memory_card, page, plots
from tasks.report.fit_runs import metrics_of, publish_fits
from tasks.tracking import logs, runs
from tasks.tracking import view as pages
from tasks.train.identity import Provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Fit = Mapping[str, Any]
LINES = 9  # variants in a picture of lines
SHOWN = 3  # of the worst and of the best series, in the report


def publish(
    found: Comparison, run: RunParams, parent: str, fits: Sequence[Fit], about: Provenance, folder: Path, home: Path
) -> dict[str, str]:
    """Logs everything to the comparison's run and the runs below it; returns the conclusion and the leaderboard in words."""
    board = report.leaderboard(found.board)
    sentence = report.sentence(board, run.data.target, _gain(found), run.evaluation.choose_by)
    pictures = dict(_drawn(_pictures(found, board, run, fits), folder))
    _tables(found, board, run, sentence, folder)
    text = page.page(f"{run.name}: comparison", sentence, _sections(found, board, run, fits, about, pictures, parent))
    (folder / "report.html").write_text(text, encoding="utf-8")
    for file in ("report.html", *(f"leaderboard.{kind}" for kind in ("csv", "json", "md")), "scores.csv", "differences.csv"):
        logs.log_file(parent, folder / file)
    for name in pictures:
        logs.log_file(parent, folder / name, str(Path(name).parent) if "/" in name else None)
    publish_fits(found, run, parent, fits, folder)
    _keep_forecasts(found, run, parent, home)
    _conclude(found, board, run, parent, sentence)
    return {"sentence": sentence, "leaderboard": report.to_markdown(board, report.NARROW)}


def _gain(found: Comparison) -> dict[str, Any] | None:
    """The winner's MAE less the best naive's, and how sure that is."""
    gain = found.to_naive.get(found.chosen or "")
    return asdict(gain) if gain else None


def _tables(found: Comparison, board: pl.DataFrame, run: RunParams, sentence: str, folder: Path) -> None:
    facts = {
        "name": run.name,
        "chosen": found.chosen,
        "chosen_fit": found.chosen_fit,
        "naive": found.naive,
        "sentence": sentence,
        "gain": _gain(found),
        "unit": run.data.target,
        "choose_by": run.evaluation.choose_by,
        "rows": board.to_dicts(),
        "fits": report.leaderboard(found.rows).to_dicts(),
    }
    (folder / "leaderboard.json").write_text(json.dumps(facts, indent=1))
    board.write_csv(folder / "leaderboard.csv")
    (folder / "leaderboard.md").write_text(report.to_markdown(board))
    found.slices.write_csv(folder / "scores.csv")
    rows = [
        {"model": name, "other": other, **asdict(one)}
        for other, some in ((found.best, found.to_best), (found.naive, found.to_naive))
        for name, one in some.items()
    ]
    schema = {"model": pl.String, "other": pl.String, **dict.fromkeys(("mean", "low", "high", "statistic", "p"), pl.Float64)}
    schema |= {"over": pl.String, "count": pl.Int64, "p_holm": pl.Float64}
    pl.DataFrame(rows, schema=schema).write_csv(folder / "differences.csv")


def of_variants(found: Comparison) -> pl.DataFrame:
    """The scores by slice of each variant and baseline: means over its seeds."""
    names = {row["name"]: row["variant"] for row in found.rows}
    numbers = [name for name, dtype in found.slices.schema.items() if dtype == pl.Float64]
    named = found.slices.with_columns(pl.col("model").replace(names))
    return named.group_by("model", "by", "value", maintain_order=True).agg(pl.col(numbers).mean())


def _pictures(found: Comparison, board: pl.DataFrame, run: RunParams, fits: Sequence[Fit]) -> Iterable[tuple[str, "Figure"]]:
    """Every picture of the comparison's run by its file name, drawn one after the other."""
    unit, table = run.data.target, of_variants(found)
    models = lines_of(board)
    chosen, naive = found.chosen, found.naive
    yield "accuracy.png", plots.accuracy_plot(board, chosen, naive, unit)
    if found.best:
        alike = report.not_told_apart(board)
        kinds = dict(board.select("name", "kind").iter_rows())
        order = [name for name in board["name"] if name in found.to_best]
        rows = [_difference(name, kinds[name], name in alike, found.to_best[name]) for name in order]
        yield "differences.png", plots.difference_plot(rows, found.best, unit)
    steps = scores.wide(table, "step").rename({"value": "step"})
    yield "error_by_step.png", plots.step_plot(steps, models, chosen, naive, unit, str(run.data.frequency))
    for by in scores.SLICES:
        if (table["by"] == by).any():
            yield f"error_by_{by}.png", plots.slice_plot(scores.wide(table, by), by, models, chosen, naive, unit)
    shown = found.shown
    test = found.test.read(shown, naive, f"{shown}-lo-{COVERAGE}", f"{shown}-hi-{COVERAGE}")
    for number, series in enumerate(_series(found)):
        yield f"forecasts/{plots.file_name(number, series)}", plots.forecast_plot(test, series, shown, naive, unit)
    yield "pareto.png", plots.pareto_plot(board, chosen, naive, unit)
    cards = memory_card.cards_of(fits)
    cards = {label: cards[label] for label in board["name"] if label in cards}
    if cards:
        yield "memory.png", memory_card.card_figure(cards)


def lines_of(board: pl.DataFrame) -> list[str]:
    """The models that a picture has lines of: the best on validation, and every baseline."""
    scored = board.filter(pl.col("val_mae").is_not_null())
    best = scored.filter(pl.col("kind") == "variant").head(LINES)["name"].to_list()
    return [name for name, kind in scored.select("name", "kind").iter_rows() if name in best or kind == "baseline"]


def _difference(name: str, kind: str, alike: bool, one: Difference) -> dict[str, Any]:
    return {"name": name, "kind": kind, "mean": one.mean, "low": one.low, "high": one.high, "alike": alike}


def _series(found: Comparison) -> list[str]:
    """The series that are drawn, worst first."""
    return plots.plotted(found.errors_by_series(found.shown), found.shown)


def _drawn(pictures: Iterable[tuple[str, "Figure"]], folder: Path) -> Iterable[tuple[str, bytes]]:
    for name, figure in pictures:
        yield name, plots.save(figure, folder / name).read_bytes()


def _sections(
    found: Comparison,
    board: pl.DataFrame,
    run: RunParams,
    fits: Sequence[Fit],
    about: Provenance,
    pictures: Mapping[str, bytes],
    parent: str,
) -> list[page.Section]:
    """The report from top to bottom: who is better, by how much, where, and whether it is real; then all that stands behind."""
    unit = run.data.target

    def drawn(captions: Mapping[str, str]) -> list[tuple[str, bytes]]:
        return [(caption, pictures[name]) for name, caption in captions.items() if name in pictures]

    origins = _count(found)
    board_note = f"{unit} in its own unit, horizon {run.windows.horizon} x {run.data.frequency}; {origins}"
    table = page.table(board, page.ACCURACY) + page.bullets(report.remarks(board))
    table += page.folded("more scores", page.table(board, page.MORE)) + page.folded(
        "what the columns say", page.bullets(LEGEND)
    )
    real = (
        f"Each model's MAE on test less that of {found.best}, the best on validation, with 90 % of the moving-block bootstrap."
    )
    real += f" {_over(found)}"
    variants = board.filter((pl.col("kind") == "variant") & pl.col("val_mae").is_not_null()).height
    few = f"The {LINES} best of {variants} variants, and the baselines; all are in scores.csv." if variants > LINES else ""
    where = {"error_by_step.png": "By step of the horizon"}
    where |= {f"error_by_{by}.png": f"By {by} of the forecast row (UTC)" for by in scores.SLICES}
    shown = [name for name in pictures if name.startswith("forecasts/")]
    ends = shown if len(shown) <= 2 * SHOWN else [*shown[:SHOWN], *shown[-SHOWN:]]
    series = _series(found)
    captions = {name: _caption(series, shown.index(name)) for name in ends}
    cards = memory_card.cards_of(fits)
    warnings = [f"{label}: {card.warning}" for label, card in cards.items() if card.warning]
    memory = {"memory.png": "How far back each variant listens: sensitivity to the rows before the cutoff"}
    cost = {"pareto.png": "The front: no other model is both cheaper and more accurate"}
    return [
        page.Section("leaderboard", "Leaderboard", board_note, drawn({"accuracy.png": "MAE on test and validation"}), table),
        page.Section("real", "Is the difference real?", real, drawn({"differences.png": "Differences to the best variant"})),
        page.Section("where", "Where the errors are", few, drawn(where)),
        page.Section("forecasts", "Forecasts of the worst and the best series", "", drawn(captions)),
        page.Section("memory", "Memory", "", drawn(memory), page.bullets(warnings)),
        page.Section("cost", "Cost", "", drawn(cost), page.table(board, page.COST)),
        page.Section("data", "Data checks", "", (), page.checks(about.verdict)),
        page.Section("again", "How to do it again", "", (), _again(run, about, parent)),
    ]


LEGEND = (
    "scaled: in standard deviations of each series' training rows (population; where evaluation.scaled is true)",
    "lag: by how many rows the forecasts look late, in the middle of the steps; a copy of the last value is late by gap + step",
    "cover, width: of the 90 % interval (split conformal, from validation residuals); pinball: mean of the levels 5, 50, 95 %",
    "p (best), p (naive): Diebold-Mariano, two-sided, against the best variant on validation and the best naive, raised by "
    "Holm for the many that are on the board; the p of the conclusion is the winner's alone, which was not chosen on test",
)


def _caption(series: Sequence[str], place: int) -> str:
    return f"{series[place]} (number {place + 1} of {len(series)} drawn, the largest error first)"


def _count(found: Comparison) -> str:
    path = pl.scan_parquet(found.test.path)
    counts = path.select(pl.col("cutoff").n_unique(), pl.col("unique_id").n_unique(), pl.len().alias("rows")).collect().row(0)
    return f"{counts[0]:,} test origins, {counts[1]:,} series, {counts[2] // found.test.horizon:,} forecasts a model"


def _over(found: Comparison) -> str:
    one = next(iter(found.to_best.values()), None)
    if one is None:
        return ""
    what = "origins, each the mean of its series" if one.over == "origins" else "series: there are too few origins"
    few = "" if one.p is not None or one.mean == 0 else " That is too few to say anything."
    alike = f"Not told apart: p above {LEVEL:.0%} after Holm's correction for so many comparisons; an interval is of one alone."
    return f"Tested over {one.count:,} {what}. {alike}{few}"


def _again(run: RunParams, about: Provenance, parent: str) -> str:
    printed = about.fingerprint
    names = ("revision", "clean", "data", "code", "torch", "python", "device", "lock")
    facts = {"MLflow run": parent, **{name: printed.get(name) for name in names}}
    whole = logs.to_yaml(run.model_dump(mode="json"))
    return page.code(about.command) + page.facts(facts) + page.folded("the whole of the params", page.code(whole))


def _keep_forecasts(found: Comparison, run: RunParams, parent: str, home: Path) -> None:
    if run.evaluation.save_forecasts:
        logs.log_file(parent, found.test.path)
        return
    kept = home / "forecasts" / parent / found.test.path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(found.test.path, kept)
    logs.tag(parent, {"forecasts": str(kept)})


def _conclude(found: Comparison, board: pl.DataFrame, run: RunParams, parent: str, sentence: str) -> None:
    """The description of the run and of its experiment, the view of its page, and the winner's scores."""
    logs.tag(parent, {"chosen": found.chosen or "", "best_naive": found.naive})
    told = f"{sentence}\n\n{report.to_markdown(board, report.NARROW)}\nThe whole report: `report.html` among the artifacts."
    logs.describe(parent, told)
    key, view = pages.view_tag(parent)
    experiment = runs.experiment_of(parent)
    links = (
        ("table", pages.experiment_url("", experiment)),
        ("charts", pages.experiment_url("", experiment, charts=True)),
        ("report", pages.run_url("", experiment, parent, "report.html")),
    )
    first = f"{report.headline(board)} ({', '.join(f'[{what}]({address[1:]})' for what, address in links)})"
    logs.describe_experiment(parent, f"{first}\n\n{told}", {key: view})
    row = next((row for row in found.board if row["name"] == found.chosen), None)
    if row is not None:
        logs.log_metrics(parent, metrics_of(row))


@task(cache_policy=NO_CACHE)
def compare_variants(
    run: RunParams,
    data: Data,
    fits: list[dict[str, Any]],
    parent: str,
    about: Provenance,
    home: Path,
) -> dict[str, Any]:
    """Compares all fits and baselines and publishes what came out; returns the choice, the rows and the half widths.

    `about`: the verdict of the data checks, the command and the fingerprint of the run, for the report.
    """
    with tempfile.TemporaryDirectory(dir=home, prefix=".compare-") as folder:
        found = compare(run, data, fits, Path(folder))
        words = publish(found, run, parent, fits, about, Path(folder), home)
    return words | {
        "chosen": found.chosen_fit,
        "naive": found.naive,
        "rows": found.rows,
        "board": found.board,
        "half_widths": found.half_widths,
    }
