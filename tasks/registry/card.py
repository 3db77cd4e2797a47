"""The model card of a version in Markdown: what it is, on what data, how good, where not, how again; judges nothing."""

from collections.abc import Mapping
from typing import Any

from tasks.report.columns import BY_NAME, CARD
from tasks.train.identity import Provenance
from tasks.validate.report import heading, report_lines


def card(model: Mapping[str, Any], about: Provenance, memory: Mapping[str, Any] | None) -> str:
    """`model`: model.json.  `about`: the checks' verdict and the command.  `memory`: the memory card of the fit."""
    made, columns = model["trained_on"], model["columns"]
    verdict, scores, prints = about.verdict, made["scores"], made["fingerprint"]
    windows = model["windows"]
    features = ", ".join(f"{name} ({one['lookback']} samples)" for name, one in windows["features"].items())
    told = [f"| {BY_NAME[name].words} | {scores[name]:.4g} |" for name in CARD if scores.get(name) is not None]
    gap = f", {windows['gap']} rows after the last one known" if windows["gap"] else ""
    target, known = _plain(str(columns["y"])), _plain(", ".join((*windows["calendar"], *windows["future"])) or "nothing")
    limits = [
        "The intervals are split conformal: they cover 90 % while errors are like those of the validation range, and over all "
        "series together, not for each.",
        f"Series that training did not see are scaled as all {len(model['ids'])} together are.",
        f"Needed: {windows['horizon']} steps ahead at a frequency of {model['frequency']}, with a whole window of history.",
        *report_lines(verdict),
    ]
    if memory and memory.get("warning"):
        limits.append(f"Memory: {memory['warning']}.")
    half_life = (
        f"half-life {memory['half_life']} rows, receptive field {memory['receptive_field']} samples"
        if memory
        else "not measured"
    )
    lines = [
        f"# {_plain(model['name'])}: {model['variant']}",
        "",
        f"A {model['family']} network that forecasts {target} {windows['horizon']} steps of {model['frequency']} ahead{gap}.",
        "",
        "## Data",
        f"- {_plain(heading(verdict))}",
        f"- features: {_plain(features)}; known ahead: {known}",
        f"- panel {prints['data']}, newest row {made['newest_time']}",
        "",
        f"## Scores on test origins (best naive: {made['naive']})",
        "| score | |",
        "|---|---:|",
        *told,
        "",
        *_weights(made),
        "## Memory",
        f"- {half_life}",
        "",
        "## Limits",
        *(f"- {_plain(line)}" for line in limits),
        "",
        "## Again",
        f"- `python -m flows reproduce {model['name']}@VERSION` trains it again from its fingerprint and compares the weights",
        f"- `{about.command}` at revision {prints.get('revision')}" + ("" if prints.get("clean") else " (with changed files)"),
        f"- torch {prints['torch']}, Python {prints['python']}, {prints['device']}, seed {made['seed']}",
        f"- weights {made['weights']}" + (f", refitted {made['refit']['weights']}" if "refit" in made else ""),
    ]
    return "\n".join(lines) + "\n"


def _weights(made: Mapping[str, Any]) -> list[str]:
    """What the two sets of weights are; nothing where there is one."""
    if "refit" not in made:
        return []
    job = made["refit"]["job"]
    how = "; ".join(dict.fromkeys(_length(one["training"]) for one in job.get("members", [job])))
    return [
        "## Two sets of weights",
        "- weights.safetensors, graph.pt2: trained without the test range; the scores, the intervals and the gates are theirs "
        "(`forecast --judged`)",
        f"- refitted.safetensors, refitted.pt2: the same variant trained once more on all rows, {how}, which validation chose "
        "for the first; `forecast` and the served model use them, and no row was kept back to score them on",
        "",
    ]


def _plain(text: str) -> str:
    """A text of the data as text: no HTML, no Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]#|" else "&lt;" if letter == "<" else letter for letter in text).replace(
        "\n", " "
    )


def _length(training: Mapping[str, Any]) -> str:
    """How long, or with what penalty, a refit was trained."""
    penalty, epochs = training.get("refit_penalty"), training.get("refit_epochs")
    if penalty is not None:
        return f"with the penalty {penalty:g}"
    return f"for {epochs} epoch{'' if epochs == 1 else 's'}"
