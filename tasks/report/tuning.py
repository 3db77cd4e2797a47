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
        own = self.as_it_is(trial.variant)
        beside = "" if own is None else f"; {trial.variant} as it is: {own:.6g}"
        score = f"{self.search.measure} {trial.score:.6g} on validation"
        return f"Trial {trial.number} of {trial.variant} for {self.run.name}, seed {self.search.seed}: {score}{beside}"

    def counted(self) -> str:
        """How many trials ended in each state, in words."""
        every = [one for some in self.trials.values() for one in some]
        parts = [f"{sum(one.state is state for one in every)} {state}" for state in State if state is not State.RUNNING]
        return f"{sum(one.ended for one in every)} trials: {', '.join(parts)}"


def publish_search(found: Found, parent: str, folder: Path) -> None:
    """Logs pictures, table and summary to a search's run."""
    for name, figure, _ in pictures_of(found):
        logs.log_file(parent, save(figure, folder / name))
    logs.log_text(parent, table_of(found).write_csv(), "trials.csv")
    text = summary(found)
    logs.log_text(parent, text, "summary.md")
    logs.describe(parent, text)
    best = ranked([one for some in found.trials.values() for one in some])
    if best:
        logs.log_metrics(parent, {"best_val_score": best[0].score})
        logs.tag(parent, {"best": best[0].label})


def pictures_of(found: Found) -> Iterable[Picture]:
    """The history of scores, the importance of keys, and parallel coordinates."""
    curves = [
        Curve(name, [(one.number, one.score, str(one.state)) for one in trials], found.as_it_is(name))
        for name, trials in found.trials.items()
    ]
    yield Picture("history.png", history_plot(curves, found.error))
    yield Picture("importance.png", importance_plot(found.importance))
    axes = {name: [_axis(key, found, name) for key in space.dimensions] for name, space in found.spaces.items()}
    scores = {name: [one.score for one in trials if one.score is not None] for name, trials in found.trials.items()}
    yield Picture("parallel.png", parallel_plot(axes, scores, found.error))


def _axis(key: str, found: Found, variant: str) -> Axis:
    """A key with each finished trial's value."""
    dimension = found.spaces[variant].dimensions[key]
    values: list[Value] = [one.values[key] for one in found.trials[variant] if one.score is not None]
    ends = None if dimension.low is None or dimension.high is None else (float(dimension.low), float(dimension.high))
    return Axis(key.removeprefix("training."), values, ends, dimension.log, dimension.choices)


def table_of(found: Found) -> pl.DataFrame:
    """Every trial: variant, trial, state, score, seconds, reason, and a column per key."""
    rows = [
        {
            "variant": name,
            "trial": one.number,
            "state": str(one.state),
            "score": one.score,
            "seconds": one.seconds,
            "identity": one.identity,
            "reason": one.reason,
            **{key: str(value) for key, value in one.values.items()},
        }
        for name, trials in found.trials.items()
        for one in trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def summary(found: Found) -> str:
    """The result of a search in Markdown: the best trials of each variant and their values."""
    lines = [f"Search for {found.run.name}, {found.error} on validation, seed {found.search.seed}; {found.counted()}."]
    for name, trials in found.trials.items():
        own = found.as_it_is(name)
        lines += ["", f"**{name}**" + ("" if own is None else f", as it is: {own:.4g}"), ""]
        keys = list(found.spaces[name].dimensions)
        lines += [f"| trial | {found.search.measure} | {' | '.join(keys)} |", f"|{'---|' * (len(keys) + 2)}"]
        for one in ranked(trials)[:TABLED]:
            lines.append(f"| {one.number} | {one.score:.4g} | {' | '.join(str(one.values[key]) for key in keys)} |")
    return "\n".join(lines) + "\n"
