"""A search in the MLflow run above its trials: pictures, a table of all trials, and a summary."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from params.schema import RunParams
from params.search import Value
from tasks.report import leaderboard as report
from tasks.report.pictures import Picture
from tasks.report.plots.style import save
from tasks.report.plots.tuning import Axis, Curve, history_plot, importance_plot, parallel_plot
from tasks.tracking import logs
from tasks.tune.space import Space
from tasks.tune.store import Search
from tasks.tune.trial import State, Trial, ranked

TABLED = 5  # best trials per variant in the summary


@dataclass(frozen=True)
class Found:
    """A search with all its trials by variant, and each key's importance."""

    run: RunParams
    search: Search
    spaces: Mapping[str, Space]
    trials: Mapping[str, Sequence[Trial]]
    importance: Mapping[str, Mapping[str, float]]

    @property
    def error(self) -> str:
        """The score's name, with its unit."""
        return report.error_name(self.run.evaluation.choose_by, self.run.data.target)

    def as_it_is(self, variant: str) -> float | None:
        """The score of a variant with its own values; None if unknown."""
        first = next(iter(self.trials[variant]), None)
        mine = first is not None and not self.spaces[variant].changed(first.values)
        return first.score if first is not None and mine else None

    def words(self, trial: Trial) -> str:
        """A trial's outcome in one line."""
        unchanged = self.as_it_is(trial.variant)
        beside = "" if unchanged is None else f"; {trial.variant} as it is: {unchanged:.6g}"
        score = f"{self.search.measure} {trial.score:.6g} on validation"
        return f"Trial {trial.number} of {trial.variant} for {self.run.name}, seed {self.search.seed}: {score}{beside}"

    def counted(self) -> str:
        """How many trials ended in each state, in words."""
        every = [trial for some in self.trials.values() for trial in some]
        parts = [f"{sum(trial.state is state for trial in every)} {state}" for state in State if state is not State.RUNNING]
        return f"{sum(trial.ended for trial in every)} trials: {', '.join(parts)}"


def publish_search(result: Found, parent: str, folder: Path) -> None:
    """Logs pictures, table and summary to a search's run."""
    for name, figure, _ in pictures_of(result):
        logs.log_file(parent, save(figure, folder / name))
    logs.log_text(parent, table_of(result).write_csv(), "trials.csv")
    text = summary(result)
    logs.log_text(parent, text, "summary.md")
    logs.describe(parent, text)
    best = ranked([trial for some in result.trials.values() for trial in some])
    if best:
        logs.log_metrics(parent, {"best_val_score": best[0].score})
        logs.tag(parent, {"best": best[0].label})


def pictures_of(result: Found) -> Iterable[Picture]:
    """The history of scores, the importance of keys, and parallel coordinates."""
    curves = [
        Curve(name, [(trial.number, trial.score, str(trial.state)) for trial in trials], result.as_it_is(name))
        for name, trials in result.trials.items()
    ]
    yield Picture("history.png", history_plot(curves, result.error))
    yield Picture("importance.png", importance_plot(result.importance))
    axes = {name: [_axis(key, result, name) for key in space.dimensions] for name, space in result.spaces.items()}
    scores = {name: [trial.score for trial in trials if trial.score is not None] for name, trials in result.trials.items()}
    yield Picture("parallel.png", parallel_plot(axes, scores, result.error))


def _axis(key: str, result: Found, variant: str) -> Axis:
    """A key with each finished trial's value."""
    dimension = result.spaces[variant].dimensions[key]
    values: list[Value] = [trial.values[key] for trial in result.trials[variant] if trial.score is not None]
    ends = None if dimension.low is None or dimension.high is None else (float(dimension.low), float(dimension.high))
    return Axis(key.removeprefix("training."), values, ends, dimension.log, dimension.choices)


def table_of(result: Found) -> pl.DataFrame:
    """Every trial: variant, trial, state, score, seconds, reason, and a column per key."""
    rows = [
        {
            "variant": name,
            "trial": trial.number,
            "state": str(trial.state),
            "score": trial.score,
            "seconds": trial.seconds,
            "identity": trial.identity,
            "reason": trial.reason,
            **{key: str(value) for key, value in trial.values.items()},
        }
        for name, trials in result.trials.items()
        for trial in trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def summary(result: Found) -> str:
    """The result of a search in Markdown: the best trials of each variant and their values."""
    lines = [f"Search for {result.run.name}, {result.error} on validation, seed {result.search.seed}; {result.counted()}."]
    for name, trials in result.trials.items():
        unchanged = result.as_it_is(name)
        lines += ["", f"**{name}**" + ("" if unchanged is None else f", as it is: {unchanged:.4g}"), ""]
        keys = list(result.spaces[name].dimensions)
        lines += [f"| trial | {result.search.measure} | {' | '.join(keys)} |", f"|{'---|' * (len(keys) + 2)}"]
        for trial in ranked(trials)[:TABLED]:
            lines.append(f"| {trial.number} | {trial.score:.4g} | {' | '.join(str(trial.values[key]) for key in keys)} |")
    return "\n".join(lines) + "\n"
