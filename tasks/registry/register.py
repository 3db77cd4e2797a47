"""Registers a comparison's choice as `challenger`: a variant, or the baseline that no variant beat."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.baseline_fit import forecasts_hash
from models.baselines import BASELINES, arguments_of
from models.data.panel import Panel
from models.ensemble import Model
from models.fit.job import Job, is_baseline, load_model
from models.fit.settings import Ended, Result
from models.memory_card import MemoryCard
from params.schema import RunParams
from params.shown import discreet
from tasks.calibrate.calibrate import Calibrated
from tasks.compare.compare import Comparison
from tasks.evaluate.importance import Importance
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.registry.bundle import inputs_of, write_bundle
from tasks.registry.card import card
from tasks.registry.facts import Baseline, BundleFacts, Combined, Fallback, Refitted, TrainedOn
from tasks.registry.standing import AS, MADE
from tasks.registry.unseen import border
from tasks.registry.versions import Registered, register
from tasks.report.verdict import Conclusion
from tasks.tracking import logs, runs
from tasks.train.final import seen_until
from tasks.train.fits import Fit
from tasks.train.identity import Provenance, canonical, fingerprint, sha256
from tasks.train.job import baseline_job
from tasks.train.kind import Kind
from tasks.train.outside import code_of, outside_of


@dataclass(frozen=True)
class Judged:
    """How a comparison judged what is registered: best `naive` and best baseline, scores, data checks."""

    naive: str
    baseline: str
    scores: Mapping[str, float | None]
    checked: bool

    @classmethod
    def of(cls, comparison: Comparison, model: str, about: Provenance) -> "Judged":
        """The judgement of one model, by its label."""
        scores = next(row.scores for row in comparison.rows if row.name == model)
        return cls(comparison.naive, comparison.baseline, scores, about.verdict.passed)


@task(cache_policy=NO_CACHE)
@discreet
def register_best(
    run: RunParams,
    comparison: Comparison,
    fits: Sequence[Fit],
    parent: str,
    home: Path,
    about: Provenance,
    refit: Fit | None = None,
    concluded: Conclusion | None = None,
) -> Registered:
    """Bundles and registers what was chosen, under the run's name.

    A fit, with `refit`, the same variant trained on all rows; or, if no variant beats it on validation, the
    best baseline.  `parent`: the comparison's run; `concluded`: its verdict, for the card.

    Registers nothing, leaving the aliases, if nothing has a validation score or the refit failed.
    """
    if comparison.board.chosen is None:
        return Registered()
    if not comparison.board.won:
        return _register_baseline(run, comparison, fits[0].job, parent, home, about, concluded)
    if refit is not None and not refit.finished:
        why = f"{refit.label}, the chosen variant trained on all rows (training.refit), failed: {refit.result.reason}"
        return Registered(why=why)
    fit = next(fit for fit in fits if fit.label == comparison.chosen_fit)
    panel, judged = Panel.open(fit.job.panel), Judged.of(comparison, fit.label, about)
    made = trained_on(fit, refit, run, panel, judged)
    identity, tags = tags_of(fit.variant, made)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        words = _write(bundle, fit, refit, panel, made, comparison, about, concluded)
        result = register(bundle, name=run.name, run_id=fit.run_id, identity=identity, tags=tags, home=home, words=words)
    for each_fit in filter(None, (fit, refit)):
        logs.tag(each_fit.run_id, {MADE: str(result.version)})
    return result


def _write(
    bundle: Path,
    fit: Fit,
    refit: Fit | None,
    panel: Panel,
    made: TrainedOn,
    comparison: Comparison,
    about: Provenance,
    concluded: Conclusion | None,
) -> str:
    """Writes the bundle of a fit; returns its card."""
    judged = load_model(fit.job, fit.folder)
    fallbacks = fallbacks_of(comparison, made.run.evaluation.season)
    mixed = fit.job.resolved(fit.result.learnt)
    bundle_facts = facts_of(mixed, panel, made, judged.quantiles, comparison.calibrations[fit.label], fallbacks)
    bundle_facts = replace(bundle_facts, variant=fit.variant)  # its job may name its random streams differently
    refitted = load_model(refit.job, refit.folder) if refit else None
    memory = fit.evaluated.memory if fit.evaluated else None
    return _with_papers(bundle, bundle_facts, panel, about, concluded, (judged, refitted), memory, comparison.importance)


def _with_papers(
    bundle: Path,
    bundle_facts: BundleFacts,
    panel: Panel,
    about: Provenance,
    concluded: Conclusion | None,
    weights: tuple[Model | None, Model | None] = (None, None),
    memory: MemoryCard | None = None,
    importance: Importance | None = None,
) -> str:
    """Writes a bundle with its card (returned), the checks' verdict and the lock; `weights`: both models."""
    lock, made = ROOT / "constraints.txt", bundle_facts.trained_on
    assert made is not None  # a registered version has all of it
    papers = {
        "card.md": card(bundle_facts, made, about, memory, importance, concluded).encode(),
        "checks.json": json.dumps(asdict(about.verdict), indent=1).encode(),
        **({"constraints.txt": lock.read_bytes()} if lock.exists() else {}),
    }
    write_bundle(bundle, bundle_facts, panel, *weights, papers)
    return papers["card.md"].decode()


def _register_baseline(
    run: RunParams,
    comparison: Comparison,
    like: Job,
    parent: str,
    home: Path,
    about: Provenance,
    concluded: Conclusion | None,
) -> Registered:
    """Bundles and registers the best baseline; `like`: a fit's job, for panel, split and windows."""
    name, season = comparison.baseline, run.evaluation.season
    assert like.split is not None  # a judged fit has one
    family = run.baseline_family(name)
    job = baseline_job(name, season, like.windows, like.split, run.evaluation.stride, like.panel, family)
    panel, judged = Panel.open(job.panel), Judged.of(comparison, name, about)
    made = _made(job, name, forecasts_hash(job, panel), run, panel, judged)
    bundle_facts = facts_of(job, panel, made, (), comparison.calibrations[name], fallbacks_of(comparison, season, name))
    ours = runs.find_run(runs.experiment_of(parent), {"mlflow.parentRunId": parent, "kind": "baseline", "variant": name})
    assert ours is not None  # the comparison logged its scores there
    run_id, (identity, tags) = str(ours.info.run_id), tags_of(name, made)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        words = _with_papers(bundle, bundle_facts, panel, about, concluded)
        result = register(bundle, name=run.name, run_id=run_id, identity=identity, tags=tags, home=home, words=words)
    logs.log_text(run_id, json.dumps(made.fingerprint, indent=1), "fingerprint.json")
    logs.tag(run_id, {MADE: str(result.version), AS: identity})
    return replace(result, baseline=name)


def tags_of(variant: str, made: TrainedOn) -> tuple[str, dict[str, str]]:
    """A version's identity and its descriptive tags.

    The code of a bar from outside is part of it: a version says by what it was measured."""
    fit = made.fingerprint["identity"]
    seed = {} if is_baseline(made.job.family) else {"seed": str(made.seed)}
    tags = {"variant": variant, **seed, "val_mae": f"{made.scores['val_mae']:.6g}"}
    more = [one.facts() for one in made.bar_code if one.target not in {own.target for own in outside_of(made.job)}]
    if made.refit is None and not more:
        return fit, tags
    refit = {} if made.refit is None else {"refit": made.refit.identity}
    return sha256(canonical([fit, *refit.values(), *more])), tags | {"fit": fit, **refit}


def fallbacks_of(comparison: Comparison, season: int, itself: str = "") -> tuple[Fallback, ...]:
    """The baselines of ours with a validation score, the best of all first, then in board order.

    None from outside: a version of a network would need its code."""
    ranked = [row for row in comparison.board.rows if row.kind is Kind.BASELINE and row.finished and row.score is not None]
    ranked.sort(key=lambda row: row.name != comparison.baseline)
    return tuple(
        Fallback(
            name=row.name,
            arguments=arguments_of(row.name, season).to_dict(),
            calibrated=comparison.calibrations[row.name],
        )
        for row in ranked
        if row.name != itself and row.name in BASELINES
    )


def facts_of(
    job: Job,
    panel: Panel,
    made: TrainedOn,
    quantiles: Sequence[float],
    calibrated: Calibrated,
    fallbacks: Sequence[Fallback] = (),
) -> BundleFacts:
    """The content of a forecaster's model.json."""
    data = made.run.data
    members = tuple(
        Baseline(name=member.family, arguments=member.network) for member in job.members if is_baseline(member.family)
    )
    return BundleFacts(
        name=made.run.name,
        variant=job.training.variant,
        family=job.family,
        network=job.network,
        windows=job.windows,
        level=job.scaling.window,
        quantiles=tuple(quantiles),
        ids=panel.ids,
        frequency=panel.facts.frequency,
        forward_fill=panel.facts.forward_fill,
        categories=panel.categories,
        zone=panel.facts.zone,
        holidays=panel.facts.holidays,
        columns={"unique_id": data.id, "ds": data.time, "y": data.target},
        calibrated=calibrated,
        inputs={} if is_baseline(job.family) else inputs_of(job.windows),
        fallbacks=tuple(fallbacks),
        combined=Combined(how=job.combine, baselines=members, counts=job.counts) if members else None,
        trained_on=made,
    )


def trained_on(fit: Fit, refit: Fit | None, run: RunParams, panel: Panel, judged: Judged) -> TrainedOn:
    """What a bundle needs so that its version can be judged and trained again."""
    return replace(
        _made(fit.job, fit.label, fit.result.weights, run, panel, judged),
        stop_step=_stopped_at(fit.result),
        stop_steps=tuple(map(_stopped_at, fit.result.members)),
        counts=fit.counts,
        refit=refitted(refit, panel) if refit else None,
    )


def _made(job: Job, label: str, weights: str, run: RunParams, panel: Panel, judged: Judged) -> TrainedOn:
    """The same, also for what is not trained."""
    newest = int(panel.times.max())
    assert job.split is not None  # a judged model was trained on a split
    return TrainedOn(
        name=run.name,
        label=label,
        seed=job.training.seed,
        scores=judged.scores,
        naive=judged.naive,
        baseline=judged.baseline,
        bar_code=code_of(run.baselines.get(judged.baseline, "")),
        checks="passed" if judged.checked else "failed",
        fingerprint=fingerprint(job, panel.digest),
        job=job,
        run=run,
        weights=weights,
        unseen_from=border(panel, job.split),
        newest=newest,
        newest_time=str(pl.Series([newest]).cast(Frequency.of(panel.facts).dtype)[0]),
    )


def refitted(refit: Fit, panel: Panel) -> Refitted:
    """What a version keeps of its refit to train it again, and the rows it has seen."""
    printed = fingerprint(refit.job, panel.digest)
    return Refitted(
        job=refit.job,
        weights=refit.result.weights,
        fingerprint=printed,
        identity=printed["identity"],
        seen_until=seen_until(panel),
    )


def _stopped_at(result: Result) -> int | None:
    """The step at which a fit's time ran out, where an equal fit has to stop."""
    return result.steps if result.ended_by in (Ended.MAX_SECONDS, Ended.STOP_STEP) else None
