"""The model card of a version in Markdown: what it is, on what data, how good, where not, how to make it again."""

from models.fit.settings import Training
from models.memory_card import MemoryCard
from tasks.registry.facts import BundleFacts, Refitted, TrainedOn
from tasks.report.columns import BY_NAME, CARD
from tasks.train.identity import Provenance
from tasks.train.revision import named
from tasks.validate.report import heading, report_lines
from tasks.validate.verdict import Verdict

NO_NETWORKS = {"ridge": "ridge regression", "linear": "linear model", "ensemble": "ensemble"}


def card(facts: BundleFacts, made: TrainedOn, about: Provenance, memory: MemoryCard | None) -> str:
    """The card of a version that was trained on `made`."""
    verdict, windows, prints = about.verdict, facts.windows, made.fingerprint
    features = ", ".join(f"{name} ({one.lookback} samples)" for name, one in windows.features.items())
    shown = ((BY_NAME[name].words, made.scores.get(name)) for name in CARD)
    gap = f", {windows.gap} rows after the last one known" if windows.gap else ""
    target, known = _plain(str(facts.columns["y"])), _plain(", ".join((*windows.calendar, *windows.future)) or "nothing")
    half_life = (
        f"half-life {memory.half_life} rows, receptive field {memory.receptive_field} samples" if memory else "not measured"
    )
    lines = [
        f"# {_plain(facts.name)}: {facts.variant}",
        "",
        f"{kind_of(facts.family)} that forecasts {target} {windows.horizon} steps of {facts.frequency} ahead{gap}.",
        "",
        "## Data",
        f"- {_plain(heading(verdict))}",
        f"- features: {_plain(features)}; known ahead: {known}",
        f"- panel {prints['data']}, newest row {made.newest_time}",
        "",
        f"## Scores on test origins (best naive: {made.naive})",
        "| score | |",
        "|---|---:|",
        *(f"| {words} | {value:.4g} |" for words, value in shown if value is not None),
        "",
        *_weights(made.refit),
        "## Memory",
        f"- {half_life}",
        "",
        "## Limits",
        *(f"- {_plain(line)}" for line in _limits(facts, verdict, memory)),
        "",
        *_again(facts, made, about),
    ]
    return "\n".join(lines) + "\n"


def kind_of(family: str) -> str:
    """A family with its article: what is no network is not called one, and an abbreviation is spelled out (an lstm)."""
    what = NO_NETWORKS.get(family) or f"{_plain(family)} network"
    spelled = not set(what.split()[0].lower()) & set("aeiouy")
    return f"{'An' if what[0].lower() in ('aefhilmnorsx' if spelled else 'aeio') else 'A'} {what}"


def _limits(facts: BundleFacts, verdict: Verdict, memory: MemoryCard | None) -> list[str]:
    """What the forecasts are not."""
    ahead = facts.windows.horizon
    return [
        "The intervals are split conformal: they cover 90 % while errors are like those of the validation range, and over all "
        "series together, not for each.",
        f"Series that training did not see are scaled as all {len(facts.ids)} together are.",
        f"Needed: {ahead} steps ahead at a frequency of {facts.frequency}, with a whole window of history.",
        *report_lines(verdict),
        *([f"Memory: {memory.warning}."] if memory and memory.warning else []),
    ]


def _again(facts: BundleFacts, made: TrainedOn, about: Provenance) -> list[str]:
    """How the version is made again."""
    prints = made.fingerprint
    files = named(prints.get("changed", ()))
    changed = f" ({files} changed)" if files else "" if prints["clean"] else " (with changed files)"
    revision = f"revision {prints['revision']}{changed}" if prints["revision"] else "no revision"
    return [
        "## Again",
        f"- `python -m flows reproduce {facts.name}@VERSION` trains it again from its fingerprint and compares the weights",
        f"- `{about.command}` at {revision}",
        f"- torch {prints['torch']}, Python {prints['python']}, {prints['device']}, seed {made.seed}",
        f"- weights {made.weights}" + (f", refitted {made.refit.weights}" if made.refit else ""),
    ]


def _weights(refit: Refitted | None) -> list[str]:
    """What the two sets of weights are; nothing where there is one."""
    if refit is None:
        return []
    how = "; ".join(dict.fromkeys(_length(one.training) for one in refit.job.members or (refit.job,)))
    return [
        "## Two sets of weights",
        "- weights.safetensors, graph.pt2: trained without the test range; the scores, the intervals and the gates are theirs "
        "(`forecast --judged`)",
        f"- refitted.safetensors, refitted.pt2: the same variant trained once more on all rows, {how}, which validation chose "
        "for the first; `forecast` and the served model use them, and no row was kept back to score them on",
        "",
    ]


def _length(training: Training) -> str:
    """How long, or with what penalty, a refit was trained."""
    penalty, epochs = training.refit_penalty, training.refit_epochs
    if penalty is not None:
        return f"with the penalty {penalty:g}"
    return f"for {epochs} epoch{'' if epochs == 1 else 's'}"


def _plain(text: str) -> str:
    """A text of the data as text: no HTML, no Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]#|" else "&lt;" if letter == "<" else letter for letter in text).replace(
        "\n", " "
    )
