"""The model card of a version in Markdown: its data, accuracy, limits, and how to reproduce it."""

from collections.abc import Mapping
from importlib.metadata import version as installed

from models.baselines import BASELINES, FITTED_ROWS, OUTSIDE, is_outside
from models.fit.job import is_baseline
from models.fit.settings import Training
from models.memory_card import MemoryCard
from models.outside import Outside
from tasks.evaluate.importance import Importance
from tasks.registry.facts import BundleFacts, Refitted, TrainedOn
from tasks.report.columns import BY_NAME, CARD
from tasks.report.importance import HEADS, how_measured, rows_of
from tasks.report.verdict import Conclusion
from tasks.train.identity import Provenance
from tasks.train.outside import outside_of
from tasks.train.revision import named
from tasks.validate.report import heading, report_lines
from tasks.validate.verdict import Verdict

DRIVERS = 10  # covariates with the largest effects
NO_NETWORKS = {"ridge": "ridge regression", "linear": "linear model", "ensemble": "ensemble"}
NO_NETWORKS |= {name: f"{name.replace('_', ' ')} baseline" for name in BASELINES}


def card(
    bundle: BundleFacts,
    made: TrainedOn,
    about: Provenance,
    memory: MemoryCard | None,
    importance: Importance | None = None,
    concluded: Conclusion | None = None,
) -> str:
    """The card of a version that was trained on `made`.  `concluded`: the verdict of its comparison."""
    verdict, windows, prints = about.verdict, bundle.windows, made.fingerprint
    shown = ((BY_NAME[name].words, made.scores.get(name)) for name in CARD)
    gap = f", {windows.gap} rows after the last one known" if windows.gap else ""
    target = _plain(str(bundle.columns["y"]))
    lines = [
        f"# {_plain(bundle.name)}: {bundle.variant}",
        "",
        f"{kind_of(bundle.family)} that forecasts {target} {windows.horizon} steps of {bundle.frequency} ahead{gap}.",
        "",
        *(["## Verdict", concluded.markdown(), ""] if concluded else []),
        "## Data",
        f"- {_plain(heading(verdict))}",
        f"- {_plain(_reads(bundle))}",
        f"- panel {prints['data']}, newest row {made.newest_time}",
        "",
        f"## Scores on test origins (best baseline: {made.bar}, best naive: {made.naive})",
        "| score | |",
        "|---|---:|",
        *(f"| {words} | {value:.4g} |" for words, value in shown if value is not None),
        "",
        *_folds(made.scores),
        *_intervals(bundle),
        *_members(made),
        *_weights(made.refit),
        *_memory(bundle, memory),
        *_drivers(importance, made, str(bundle.columns["y"])),
        "## Limits",
        *(f"- {_plain(line)}" for line in _limits(bundle, verdict, memory)),
        "",
        *_again(bundle, made, about),
    ]
    return "\n".join(lines) + "\n"


def _folds(scores: Mapping[str, float | None]) -> list[str]:
    """The score of each validation range, if there are several; the weights come from the last."""
    by_fold = {name: value for name, value in scores.items() if name.startswith("val_mae_fold_") and name[-1].isdigit()}
    each = ", ".join("none" if value is None else f"{value:.4g}" for value in by_fold.values())
    if not by_fold:
        return []
    return [f"MAE on the {len(by_fold)} validation ranges that chose it, the oldest first, each trained for: {each}.", ""]


def kind_of(family: str) -> str:
    """A family with its article, called a network only if it is one; abbreviations as spoken (an lstm)."""
    alone = f"baseline {family.removeprefix(OUTSIDE)}" if is_outside(family) else NO_NETWORKS.get(family)
    what = alone or f"{_plain(family)} network"
    spelled = not set(what.split()[0].lower()) & set("aeiouy")
    return f"{'An' if what[0].lower() in ('aefhilmnorsx' if spelled else 'aeio') else 'A'} {what}"


def _reads(bundle: BundleFacts) -> str:
    """What it forecasts from."""
    if is_baseline(bundle.family):
        rows = f", of the newest {bundle.network['rows']} rows" if "rows" in bundle.network else ""
        season = "" if bundle.family in ("last_value", "drift") else f", with a season of {bundle.network['season']} rows"
        return f"from the history of each series by itself{rows}{season}"
    features = ", ".join(f"{name} ({window.lookback} samples)" for name, window in bundle.windows.features.items())
    known = ", ".join((*bundle.windows.calendar, *bundle.windows.future)) or "nothing"
    members = (
        "; members besides: " + ", ".join(baseline.name.removeprefix(OUTSIDE) for baseline in bundle.combined.baselines)
        if bundle.combined
        else ""
    )
    return f"features: {features}; known ahead: {known}{members}"


def _memory(bundle: BundleFacts, card: MemoryCard | None) -> list[str]:
    """How far back it looks, which is known for a baseline."""
    if is_baseline(bundle.family):
        return []
    measured = f"half-life {card.half_life} rows, receptive field {card.receptive_field} samples" if card else "not measured"
    whose = " (of its networks: a baseline reads all that it is given)" if bundle.combined and card else ""
    return ["## Memory", f"- {measured}{whose}", ""]


def _drivers(importance: Importance | None, made: TrainedOn, target: str) -> list[str]:
    """What drives its forecasts; empty if another model was measured."""
    if importance is None or importance.model != made.label:
        return []
    rows = [" | ".join(map(_plain, row)) for row in rows_of(importance, target, DRIVERS)]
    head = [f"| {' | '.join(HEADS)} |", "|---|---|---:|---:|---:|"]
    return ["## What drives the forecast", _plain(how_measured(importance)), "", *head, *(f"| {row} |" for row in rows), ""]


def _limits(bundle: BundleFacts, verdict: Verdict, memory: MemoryCard | None) -> list[str]:
    """The limits of the forecasts."""
    ahead, alone = bundle.windows.horizon, is_baseline(bundle.family)
    unseen = f"Series that training did not see are scaled as all {len(bundle.ids)} together are."
    enough = "history enough" if alone else "a whole window of history"
    others = ", else ".join(fallback.name for fallback in bundle.fallbacks)
    less = f"A series with less is forecast by {others}: the column model says which (with --strict it is not forecast)."
    return [
        "The intervals cover what they say while errors are like those of the validation range, from which they were learnt: "
        "on average over the series that they were learnt from, not in every situation.",
        *([] if alone else [unseen]),
        f"Needed: {ahead} steps ahead at a frequency of {bundle.frequency}, with {enough}.",
        *([less] if others else []),
        *report_lines(verdict),
        *([f"Memory: {memory.warning}."] if memory and memory.warning else []),
    ]


def _again(bundle: BundleFacts, made: TrainedOn, about: Provenance) -> list[str]:
    """How to reproduce the version."""
    prints = made.fingerprint
    files = named(prints.get("changed", ()))
    changed = f" ({files} changed)" if files else "" if prints["clean"] else " (with changed files)"
    revision = f"revision {prints['revision']}{changed}" if prints["revision"] else "no revision"
    alone = is_baseline(bundle.family)
    again = "trains it again from its fingerprint and compares the weights"
    by, what = ("numpy", "forecasts again and compares") if alone else (f"torch {prints['torch']}, seed {made.seed}", again)
    if bundle.needed & {*FITTED_ROWS}:
        by += f", statsforecast {prints.get('statsforecast') or installed('statsforecast')}"
    return [
        "## Again",
        f"- `python -m flows reproduce {bundle.name}@VERSION` {what}",
        f"- `{about.command}` at {revision}",
        f"- {by}, Python {prints['python']}, {prints['device']}",
        *(f"- needs {code.target}, code from outside this repository: {_files(code)}" for code in outside_of(made.job)),
        f"- {'forecasts' if alone else 'weights'} {made.weights}" + (f", refitted {made.refit.weights}" if made.refit else ""),
    ]


def _files(code: Outside) -> str:
    """Every file of code from outside, with the beginning of its sha256."""
    return ", ".join(f"{file} {digest[:12]}" for file, digest in code.files.items())


def _intervals(bundle: BundleFacts) -> list[str]:
    """How the intervals are made, and why."""
    calibrated, shown = bundle.calibrated, 4
    intervals, best = calibrated.calibration, sorted(calibrated.scores, key=lambda name: calibrated.scores[name])
    base = "quantiles of its own" if intervals.own else "errors around its point forecast"
    units = "" if calibrated.method == "split" else ", in units of each series"
    lines = [
        f"- quantiles from {intervals.levels[0]:g} to {intervals.levels[-1]:g}, from {base} on validation{units}: the method "
        f"{_plain(calibrated.method)} (docs/intervals.md)"
    ]
    if best:
        others = ", ".join(f"{_plain(name)} {calibrated.scores[name]:.4g}" for name in best[:shown])
        more = f" and {len(best) - shown} more" if len(best) > shown else ""
        lines.append(
            "- chosen by the interval score on rows that a method was not calibrated on, in seasonal naive errors of each "
            f"series (a simpler method that comes near the best is taken): {others}{more}"
        )
    if intervals.ratio is not None:
        lines.append(
            "- a series that training did not see has the unit that its own rows give it, where they show a season often "
            "enough, else that of the usual series"
        )
    return ["## Intervals", *lines, ""]


def _weights(refit: Refitted | None) -> list[str]:
    """What the two sets of weights are; empty if there is one."""
    if refit is None:
        return []
    how = "; ".join(dict.fromkeys(_length(network.training) for network in refit.job.networks or (refit.job,)))
    return [
        "## Two sets of weights",
        "- weights.safetensors, graph.pt2: trained without the test range; the scores and the gates are theirs, and so are the "
        "errors that the intervals are made from (`forecast --judged`)",
        f"- refitted.safetensors, refitted.pt2: the same variant trained once more on all rows, {how}, which validation chose "
        "for the first; `forecast` and the served model use them, with the intervals of the judged weights in units of each "
        "series up to its last row; no row was kept back to score them on",
        "",
    ]


def _members(made: TrainedOn) -> list[str]:
    """Each member's weight in an ensemble, if learnt, largest first; members without weight are named."""
    picks, ranked = sum(made.counts.values()), sorted(made.counts.items(), key=lambda pick: -pick[1])
    if not picks:
        return []
    rest = ", ".join(_plain(name) for name, count in ranked if not count)
    return [
        "## Members",
        "Weights learnt on validation by forward selection; its scores there are of weights that were learnt without them.",
        "",
        "| member | weight |",
        "|---|---:|",
        *(f"| {_plain(name)} | {100 * count / picks:.0f} % |" for name, count in ranked if count),
        "",
        *([f"Looked at and not taken: {rest}.", ""] if rest else []),
    ]


def _length(training: Training) -> str:
    """How long, or with what penalty, a refit was trained."""
    penalty, epochs = training.refit_penalty, training.refit_epochs
    if epochs is None:
        return f"with the penalty {penalty:g}"
    beside = "" if penalty is None else f", next to a ridge regression with the penalty {penalty:g}"
    return f"for {epochs} epoch{'' if epochs == 1 else 's'}{beside}"


def _plain(text: str) -> str:
    """A text from the data as plain text: no HTML, no Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]#|" else "&lt;" if letter == "<" else letter for letter in text).replace(
        "\n", " "
    )
