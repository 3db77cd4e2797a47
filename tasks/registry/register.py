"""The winner of a comparison as a registered version with the alias `challenger`; where nothing won, it says so."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Panel, Split
from models.fit.job import Job, load_model
from models.fit.settings import Ended, Result
from params.schema import RunParams
from params.shown import discreet
from tasks.compare.compare import Comparison
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.registry.bundle import inputs_of, write_bundle
from tasks.registry.card import card
from tasks.registry.facts import Border, BundleFacts, Refitted, TrainedOn
from tasks.registry.standing import MADE
from tasks.registry.versions import Registered, register
from tasks.tracking import logs
from tasks.train.final import seen_until
from tasks.train.fits import Fit
from tasks.train.identity import Provenance, canonical, fingerprint, sha256


@task(cache_policy=NO_CACHE)
@discreet
def register_best(
    run: RunParams,
    found: Comparison,
    fits: Sequence[Fit],
    home: Path,
    about: Provenance,
    refit: Fit | None = None,
) -> Registered:
    """Bundles and registers the chosen fit under the run's name, with `refit`, the same variant trained on all rows.

    Registers nothing, and the aliases stay, where no variant beat the best naive on validation or the refit failed.
    """
    if not found.board.won:
        return Registered()
    if refit is not None and not refit.finished:
        why = f"{refit.label}, the chosen variant trained on all rows (training.refit), failed: {refit.result.reason}"
        return Registered(why=why)
    fit = next(fit for fit in fits if fit.label == found.chosen_fit)
    scores = next(row.scores for row in found.rows if row.name == fit.label)
    panel, training = Panel.open(fit.job.panel), fit.job.training
    made = trained_on(fit, refit, run, panel, about.verdict.passed, found.naive, scores)
    tags = {"variant": training.variant, "seed": str(training.seed), "val_mae": f"{scores['val_mae']:.6g}"}
    identity = fit.identity
    if refit is not None:
        tags |= {"fit": fit.identity, "refit": refit.identity}
        identity = sha256(canonical([fit.identity, refit.identity]))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        words = _write(bundle, fit, refit, panel, made, found.half_widths[fit.label], about)
        result = register(bundle, name=run.name, run_id=fit.run_id, identity=identity, tags=tags, home=home, words=words)
    for one in filter(None, (fit, refit)):
        logs.tag(one.run_id, {MADE: str(result.version)})
    return result


def _write(
    bundle: Path,
    fit: Fit,
    refit: Fit | None,
    panel: Panel,
    made: TrainedOn,
    half_widths: Sequence[float | None],
    about: Provenance,
) -> str:
    """Writes the bundle of a fit; returns its card."""
    judged = load_model(fit.job, fit.folder)
    facts = facts_of(fit.job, panel, made, judged.quantiles, half_widths)
    lock = ROOT / "constraints.txt"
    papers = {
        "card.md": card(facts, made, about, fit.evaluated.memory if fit.evaluated else None).encode(),
        "checks.json": json.dumps(asdict(about.verdict), indent=1).encode(),
        **({"constraints.txt": lock.read_bytes()} if lock.exists() else {}),
    }
    refitted = load_model(refit.job, refit.folder) if refit else None
    write_bundle(bundle, facts, panel, judged, refitted, papers)
    return papers["card.md"].decode()


def facts_of(
    job: Job, panel: Panel, made: TrainedOn, quantiles: Sequence[float], half_widths: Sequence[float | None]
) -> BundleFacts:
    """What model.json says of a forecaster."""
    data = made.run.data
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
        half_widths=tuple(half_widths),
        inputs=inputs_of(job.windows),
        trained_on=made,
    )


def trained_on(
    fit: Fit, refit: Fit | None, run: RunParams, panel: Panel, checked: bool, naive: str, scores: Mapping[str, float | None]
) -> TrainedOn:
    """What a bundle has to know so that its version can be judged and trained again."""
    job, newest = fit.job, int(panel.times.max())
    assert job.split is not None  # what is judged was trained on a split
    return TrainedOn(
        name=run.name,
        label=fit.label,
        seed=job.training.seed,
        scores=scores,
        naive=naive,
        checks="passed" if checked else "failed",
        fingerprint=fingerprint(job, panel.digest),
        job=job,
        run=run,
        weights=fit.result.weights,
        stop_step=_stopped_at(fit.result),
        stop_steps=tuple(map(_stopped_at, fit.result.members)),
        unseen_from=border(panel, job.split),
        newest=newest,
        newest_time=str(pl.Series([newest]).cast(Frequency.of(panel.facts).dtype)[0]),
        refit=refitted(refit, panel) if refit else None,
    )


def refitted(refit: Fit, panel: Panel) -> Refitted:
    """What a version keeps of its refit so that it can be trained again, and what rows it has seen."""
    printed = fingerprint(refit.job, panel.digest)
    return Refitted(
        job=refit.job,
        weights=refit.result.weights,
        fingerprint=printed,
        identity=printed["identity"],
        seen_until=seen_until(panel),
    )


def _stopped_at(result: Result) -> int | None:
    """The step at which the seconds of a fit were over, which an equal fit has to stop at."""
    return result.steps if result.ended_by in (Ended.MAX_SECONDS, Ended.STOP_STEP) else None


def border(panel: Panel, split: Split) -> Border:
    """The first row that a fit on this split has not seen: a time for all series, or (a split by rows) one for each."""
    if split.by == "time":
        return split.test
    first, _ = split.target_ranges(panel.times, panel.offsets, "test")
    starts = np.minimum(panel.offsets[:-1] + first, panel.offsets[1:] - 1)
    return dict(zip(panel.ids, panel.times[starts].tolist(), strict=True))
