"""The winner of a comparison as a registered model version with the alias `challenger`; where nothing won, it says so."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Panel
from models.fit.job import load_model
from params.schema import RunParams
from tasks.compare.compare import Comparison
from tasks.files import ROOT
from tasks.registry.bundle import write_bundle
from tasks.registry.card import card
from tasks.registry.unseen import facts_for
from tasks.registry.versions import register
from tasks.tracking import logs
from tasks.train.final import identity_of, refit_facts
from tasks.train.fits import Fit
from tasks.train.identity import Provenance, fingerprint


@task(cache_policy=NO_CACHE)
def register_best(
    run: RunParams,
    found: Comparison,
    fits: Sequence[Fit],
    home: Path,
    about: Provenance,
    refit: Fit | None = None,
) -> dict[str, Any]:
    """Bundles and registers the chosen fit under the run's name; `about`: the checks' verdict and the command, for its card.

    `refit`: the same variant trained on all rows, with its `job`, where there is one.
    Returns `version` and `new` (False where the same identity was registered before), or `version` None where no variant beat
    the best naive on validation, or (`why`) the refit failed: then nothing is registered and the aliases stay.
    """
    if found.chosen_fit is None:
        return {"version": None, "new": False}
    if refit is not None and not refit.finished:
        why = f"{refit.label}, the chosen variant trained on all rows (training.refit), failed: {refit.result.reason}"
        return {"version": None, "new": False, "why": why}
    fit = next(fit for fit in fits if fit.label == found.chosen_fit)
    job = fit.job
    row = next(row for row in found.rows if row.name == fit.label)
    scores = row.scores
    forecaster, panel = load_model(job, fit.folder), Panel.open(job.panel)
    refitted = None if refit is None else load_model(refit.job, refit.folder)
    facts = {
        "name": run.name,
        "label": fit.label,
        "seed": job.training.seed,
        "scores": scores,
        "naive": found.naive,
        "checks": "passed",  # nothing comes here that they, or the canary, have stopped
        "fingerprint": fingerprint(job, panel.digest),
        **facts_for(job, fit.result, panel, run),
    }
    if refit is not None:
        facts["refit"] = refit_facts(refit.job, refit.result, panel)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        write_bundle(
            bundle,
            forecaster,
            refitted=refitted,
            variant=job.training.variant,
            family=job.family,
            network=job.network,
            params=job.windows,
            level=job.scaling.window,
            panel=panel,
            run=run,
            half_widths=found.half_widths[fit.label],
            facts=json.loads(json.dumps(facts)),
            papers=lambda model: _papers(model, about, _memory(fit)),
        )
        tags = {"variant": job.training.variant, "seed": str(job.training.seed), "val_mae": f"{row['val_mae']:.6g}"}
        identity = fit.identity
        if refit is not None:
            tags |= {"fit": fit.identity, "refit": refit.identity}
            identity = identity_of(fit.identity, refit.identity)
        words = (bundle / "card.md").read_text(encoding="utf-8")
        result = register(bundle, name=run.name, run_id=fit.run_id, identity=identity, tags=tags, home=home, words=words)
    for one in (fit, refit):
        if one is not None:
            logs.tag(one.run_id, {"registered_version": str(result["version"])})
    return dict(result)


def _memory(fit: Fit) -> dict[str, Any] | None:
    card = fit.evaluated.memory if fit.evaluated else None
    return asdict(card) | {"warning": card.warning} if card else None


def _papers(model: Mapping[str, Any], about: Provenance, memory: Mapping[str, Any] | None) -> dict[str, bytes]:
    """What people read in a bundle: its card, the lock, what the data checks found."""
    lock = ROOT / "constraints.txt"
    return {
        "card.md": card(model, about, memory).encode(),
        "checks.json": json.dumps(asdict(about.verdict), indent=1).encode(),
        **({"constraints.txt": lock.read_bytes()} if lock.exists() else {}),
    }
