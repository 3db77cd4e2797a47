"""Publishes a comparison: tables, pictures, a report and the forecast frame."""

import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Data
from params.evaluation import Measure
from params.schema import RunParams
from params.shown import discreet
from tasks import pages
from tasks.compare import scores
from tasks.compare.board import LEVEL, Board, Difference, Score
from tasks.compare.compare import Comparison, compare
from tasks.compare.driving import explained
from tasks.evaluate.baselines import Baselines
from tasks.pages import Html
from tasks.report import importance, memory_card
from tasks.report import leaderboard as report
from tasks.report.columns import ACCURACY, BY_NAME, COST, IN_MLFLOW, MORE, NARROW
from tasks.report.conclude import gain_of
from tasks.report.fit_runs import Publication, metrics_of, publish_fits
from tasks.report.intervals import CAPTIONS, intervals_of
from tasks.report.members import members_of
from tasks.report.pictures import LINES, Picture, pictures_of
from tasks.report.plots.style import HAND, png, save
from tasks.report.reasons import tell
from tasks.report.told import Told, lines_of, next_commands
from tasks.report.top import SCRIPT, Drawn, top_of
from tasks.report.verdict import INTERVALS
from tasks.tracking import logs, runs
from tasks.tracking import view as mlflow_pages
from tasks.train.fits import Fit
from tasks.train.identity import Provenance
from tasks.train.revision import named
from tasks.validate.report import checks, rows

Advance = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Compared:
    """A published comparison: its results, its conclusion, and its leaderboard in Markdown."""

    found: Comparison
    told: Told
    leaderboard: str


def publish(comparison: Comparison, where: Publication, data: Data, fits: Sequence[Fit], folder: Path) -> Compared:
    """Logs everything to the comparison's run and the runs below it."""
    run, parent = where.run, where.parent
    conclusion = tell(run, data, fits, comparison, where.about.command)
    pictures = dict(_drawn(pictures_of(comparison, run, data, fits), folder))
    _tables(comparison, where, conclusion, folder)
    title, parts = f"{run.name}: comparison", _sections(comparison, where, conclusion, fits, pictures)
    text = pages.page(
        title, conclusion.verdict.sentence, parts, top_of(comparison, run, conclusion.verdict, data, pictures), SCRIPT
    )
    (folder / "report.html").write_text(text, encoding="utf-8")
    for file in ("report.html", *(f"leaderboard.{kind}" for kind in ("csv", "json", "md")), "scores.csv", "differences.csv"):
        logs.log_file(parent, folder / file)
    for name in pictures:
        logs.log_file(parent, folder / name, str(Path(name).parent) if "/" in name else None)
    publish_fits(comparison, where, fits, folder)
    importance.log_importance(comparison.importance, run.data.target, parent, fits, folder)
    _keep_forecasts(comparison, where)
    _conclude(comparison, where, conclusion)
    by = run.evaluation.choose_by
    return Compared(comparison, conclusion, report.to_markdown(comparison.board, NARROW, by))


def _tables(comparison: Comparison, where: Publication, conclusion: Told, folder: Path) -> None:
    run, gain, board = where.run, gain_of(comparison), report.frame(comparison.board.rows)
    leaderboard = {
        "name": run.name,
        "chosen": comparison.chosen,
        "chosen_fit": comparison.chosen_fit,
        "baseline": comparison.baseline,
        "naive": comparison.naive,
        "verdict": asdict(conclusion.verdict),
        "note": conclusion.note,
        "reasons": None if conclusion.reasons is None else [asdict(reason) for reason in conclusion.reasons],
        "command": conclusion.command,
        "gain": asdict(gain) if gain else None,
        "unit": run.data.target,
        "choose_by": run.evaluation.choose_by,
        "rows": board.to_dicts(),
        "fits": report.frame(Board.of(comparison.rows, comparison.baseline, comparison.naive).rows).to_dicts(),
    }
    (folder / "leaderboard.json").write_text(json.dumps(leaderboard, indent=1))
    board.write_csv(folder / "leaderboard.csv")
    (folder / "leaderboard.md").write_text(report.to_markdown(comparison.board, choose_by=run.evaluation.choose_by))
    comparison.slices.write_csv(folder / "scores.csv")
    rows = [
        {"model": name, "other": other, **asdict(difference)}
        for other, some in {
            comparison.naive: comparison.to_naive,
            comparison.baseline: comparison.to_baseline,
            comparison.best: comparison.to_best,
        }.items()
        for name, difference in some.items()
    ]
    schema = {"model": pl.String, "other": pl.String, **dict.fromkeys(("mean", "low", "high", "statistic", "p"), pl.Float64)}
    schema |= {"over": pl.String, "count": pl.Int64, "p_holm": pl.Float64, "tested": pl.Int64, "rows": pl.Int64}
    schema |= dict.fromkeys(("skill", "skill_low", "skill_high"), pl.Float64)
    pl.DataFrame(rows, schema=schema).write_csv(folder / "differences.csv")


def _drawn(pictures: Iterable[Picture], folder: Path) -> Iterable[tuple[str, Drawn]]:
    for name, figure, narrow in pictures:
        yield name, (save(figure, folder / name).read_bytes(), None if narrow is None else png(narrow, HAND))


def _sections(
    comparison: Comparison, where: Publication, conclusion: Told, fits: Sequence[Fit], pictures: Mapping[str, Drawn]
) -> list[pages.Section]:
    """What is folded, from top to bottom: who is better, by how much, where, whether it is real; then details."""

    def drawn(captions: Mapping[str, str]) -> list[Html]:
        return [pages.figure(caption, *pictures[name]) for name, caption in captions.items() if name in pictures]

    by = where.run.evaluation.choose_by
    cards = memory_card.cards_of(fits)
    warnings = [f"{label}: {card.warning}" for label, card in cards.items() if card.warning]
    memory = {"memory.png": "How far back each variant listens: sensitivity to the rows before the cutoff"}
    memory |= importance.GRADIENTS
    cost = {"pareto.png": "The front: no other model is both cheaper and more accurate"}
    error = report.error_name(by, where.run.data.target)
    accuracy = {"accuracy.png": f"{error} on test and validation, {_common(comparison)}"}
    differ = {"skill.png": f"Skill against {comparison.baseline}", "differences.png": f"How far from {comparison.best}"}
    note = pages.bullets([conclusion.note] if conclusion.note else [])
    few, errors = _where_errors(comparison, pictures)
    few = f"{error} on test, {_common(comparison)}. {few}".strip()
    held = next(mark.words for mark in conclusion.verdict.marks if mark.name.startswith(INTERVALS))
    held = f"{held[0].upper()}{held[1:]}."

    parts = [
        pages.Section("why", "Why no variant won", "", (), _why(conclusion)),
        pages.Section(
            "leaderboard", "Leaderboard", _scope(comparison, where.run), drawn(accuracy), _scores(comparison.board, by) + note
        ),
        pages.Section("real", "Is the difference real?", _how_real(comparison, by), drawn(differ)),
        pages.Section("where", "Where the errors are", few, drawn(errors)),
        pages.Section("intervals", "Do the intervals hold?", held, drawn(CAPTIONS), intervals_of(comparison, where.run)),
        pages.Section(
            "members", "Members of the greedy ensemble", "", (), members_of(fits, _validation(comparison), where.run)
        ),
        importance.section(comparison.importance, where.run.data.target, drawn(importance.CAPTIONS)),
        pages.Section("memory", "Memory", "", drawn(memory), pages.bullets(warnings)),
        pages.Section("cost", "Cost", "", drawn(cost), report.to_html(comparison.board, COST)),
        pages.Section("data", "Data checks", "", (), _checks(where)),
        pages.Section("again", "How to do it again", "", (), _again(where)),
    ]
    return [replace(part, folded=True) for part in parts]


def _checks(where: Publication) -> Html:
    """The failed checks in words, then all checks."""
    verdict = where.about.verdict
    return checks(verdict) + pages.folded("all checks", rows(verdict))


def _validation(comparison: Comparison) -> dict[str, Score]:
    return {row.name: row.score for row in comparison.rows}


def _common(comparison: Comparison) -> str:
    counts = [int(count) for row in comparison.board.rows if (count := row["test_rows"])]
    return f"on the rows that {comparison.baseline} forecasts too" + (f" ({_range(counts)} of the test)" if counts else "")


def _why(conclusion: Told) -> Html:
    """The reasons and what to type next; nothing if a variant won."""
    if conclusion.reasons is None:
        return Html()
    commands = next_commands(conclusion.reasons, conclusion.command)
    words = [reason.words for reason in conclusion.reasons] or lines_of(conclusion.reasons, conclusion.command)
    return pages.bullets(words) + Html().join(pages.code(command) for command in commands)


def _where_errors(comparison: Comparison, pictures: Mapping[str, Drawn]) -> tuple[str, dict[str, str]]:
    """A comment on the error pictures, and each one's caption."""
    scored = sum(row.score is not None for row in comparison.board.rows)
    which = f"{LINES} of {scored} models: the best baseline, then the best variants; all are in scores.csv."
    few = which if scored > LINES else ""
    errors = {"error_by_step.png": "By step of the horizon"}
    errors |= {
        f"error_by_{by}.png": f"By {by} of the forecast row (UTC), corrected for the step: its error, less that of the steps "
        "that reach it, plus that of all"
        for by in scores.SLICES
    }
    lost = [by for by in scores.SLICES if (comparison.slices["by"] == by).any() and f"error_by_{by}.png" not in pictures]
    few += "".join(f" Not by {by}: a step reaches one {by} alone, so that the two cannot be told apart." for by in lost)
    return few, errors


def _scores(board: Board, choose_by: Measure) -> Html:
    """The leaderboard, further scores, and the meaning of each column."""
    meanings = [
        f"{BY_NAME[name].heading}: {BY_NAME[name].meaning}"
        for name in dict.fromkeys((*report.shown(board.rows, ACCURACY, choose_by), *report.shown(board.rows, MORE)))
        if BY_NAME[name].meaning
    ]
    table = report.to_html(board, ACCURACY, choose_by) + pages.bullets(report.remarks(board, choose_by))
    table += pages.folded("more scores", report.to_html(board, MORE))
    return table + pages.folded("what the columns say", pages.bullets(meanings))


def _scope(comparison: Comparison, run: RunParams) -> str:
    """What was forecast: unit, horizon, and the number of origins and series."""
    cutoffs, series, rows = set[object](), 0, 0
    for block in comparison.test.blocks():  # blocks are whole series
        cutoffs.update(block["cutoff"].unique())
        series, rows = series + block["unique_id"].n_unique(), rows + block.height
    origins = f"{len(cutoffs):,} test origins, {series:,} series, {rows // comparison.test.horizon:,} forecasts a model"
    words = f"{run.data.target} in its own unit, horizon {run.windows.horizon} x {run.data.frequency}; {origins}"
    return words + (f"; chosen over {run.split.folds} validation ranges, each trained for" if run.split.folds > 1 else "")


def _how_real(comparison: Comparison, choose_by: Measure) -> str:
    score, bar, best = report.SCORES[choose_by], comparison.baseline, comparison.best
    words = f"Each model's {score} on test against that of {bar}, the best baseline{_over(comparison.to_baseline)}"
    if best:
        words += f"; then against that of {best}, the best variant on validation{_over(comparison.to_best)}"
    few = [
        difference
        for some in (comparison.to_baseline, comparison.to_best)
        for difference in some.values()
        if difference.p is None and difference.mean
    ]
    tests = (
        "Not told apart: p above {:.0f} % after Holm's correction for all that are tested against the same model; an interval, "
    )
    tests = tests.format(100 * LEVEL) + "90 % of a moving-block bootstrap, is of one alone."
    return f"{words}. {tests}" + (" Where no interval is drawn there are too few to say anything." if few else "")


def _over(differences: Mapping[str, Difference]) -> str:
    """The number of origins, or series, over which models are compared."""
    by_unit: dict[str, list[int]] = {}
    for difference in differences.values():
        by_unit.setdefault(difference.over, []).append(difference.count)
    words = [f"{_range(counts)} {over}" for over, counts in by_unit.items()]
    return f", over {' or '.join(words)} that both forecast" if words else ""


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _again(where: Publication) -> Html:
    printed = where.about.fingerprint
    pairs = {
        "MLflow run": where.parent,
        "revision": printed["revision"],
        "clean": printed["clean"] or f"no: {named(printed.get('changed', ())) or 'no revision holds this code'}",
        "data": printed["data"],
        "code": printed["code"],
        "torch": printed["torch"],
        "python": printed["python"],
        "device": printed["device"],
        "lock": printed["lock"],
    }
    whole = logs.to_yaml(where.run.model_dump(mode="json"))
    return pages.code(where.about.command) + pages.facts(pairs) + pages.folded("the whole of the params", pages.code(whole))


def _keep_forecasts(comparison: Comparison, where: Publication) -> None:
    if where.run.evaluation.save_forecasts:
        logs.log_file(where.parent, comparison.test.path)
        return
    kept = where.home / "forecasts" / where.parent / comparison.test.path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(comparison.test.path, kept)
    logs.tag(where.parent, {"forecasts": str(kept)})


def _conclude(comparison: Comparison, where: Publication, conclusion: Told) -> None:
    """Writes the run's and the experiment's description, its page's view, and the winner's scores."""
    parent, by, board = where.parent, where.run.evaluation.choose_by, comparison.board
    logs.tag(parent, {"chosen": comparison.chosen, "best_baseline": comparison.baseline, "best_naive": comparison.naive})
    table = report.to_markdown(board, NARROW, by)
    text = f"{conclusion.markdown()}\n\n{table}\nThe whole report: `report.html` among the artifacts."
    logs.describe(parent, text)
    key, view = mlflow_pages.view_tag(parent, {BY_NAME[name].metric: BY_NAME[name].pixels for name in IN_MLFLOW})
    experiment = runs.experiment_of(parent)
    links = (
        ("table", mlflow_pages.experiment_url("", experiment)),
        ("charts", mlflow_pages.experiment_url("", experiment, charts=True)),
        ("report", mlflow_pages.run_url("", experiment, parent, "report.html")),
    )
    first = (
        f"{report.escaped(conclusion.verdict.sentence)} ({', '.join(f'[{what}]({address[1:]})' for what, address in links)})"
    )
    logs.describe_experiment(parent, f"{first}\n\n{text}", {key: view})
    if board.chosen is not None:
        logs.log_metrics(parent, metrics_of(board.chosen))


@task(cache_policy=NO_CACHE)
@discreet
def compare_variants(
    run: RunParams,
    data: Data,
    fits: Sequence[Fit],
    baselines: Baselines,
    parent: str,
    about: Provenance,
    home: Path,
    advance: Advance = lambda done, total, what: None,
) -> Compared:
    """Compares all fits and baselines and publishes the result below the run `parent`.

    `advance`: receives the steps done, their total, and the current one; a model counts as two: its scores
    and its pages.
    """
    models, count = sum(fit.finished for fit in fits) + len(run.evaluation.baselines), itertools.count()

    def step(what: str) -> None:
        advance(next(count), 2 * models + 1, what)

    with tempfile.TemporaryDirectory(dir=home, prefix=".compare-") as folder:
        comparison = compare(run, data, fits, baselines, Path(folder), step)
        step("what drives the forecasts")
        comparison = explained(comparison, run, data, fits)
        return publish(comparison, Publication(run, parent, about, home, step, baselines.times), data, fits, Path(folder))
