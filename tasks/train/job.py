"""Plans the fits of a run: the job and label of each variant and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.baselines import OUTSIDE, arguments_of
from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job, Rule, is_baseline, is_closed_form
from models.fit.settings import Greedy, Training
from models.networks.linear import PENALTIES
from params.schema import RunParams, VariantParams
from tasks.train.check import labels_of, own_network, resources_of, seeds_of
from tasks.train.kind import Kind
from tasks.train.micro_batches import micro_batches
from tasks.train.outside import code_of


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A planned fit.  `first`: the label of the fit that it repeats on later borders (a rolling refit) or on
    earlier ones (a fold), else empty.  `fold`: the number of its validation range, from 1."""

    label: str
    variant: VariantParams
    job: Job
    kind: Kind = Kind.VARIANT
    first: str = ""
    fold: int = 1

    @property
    def seeded(self) -> bool:
        """Whether other seeds would give other weights."""
        return not (is_closed_form(self.variant.family) or self.variant.members)

    @property
    def most_epochs(self) -> int:
        """The longest possible history: its epochs, or the penalties of a closed form."""
        if self.variant.members:
            return 1
        if is_closed_form(self.variant.family):
            return 1 if self.job.on_all_rows else len(PENALTIES)
        return self.job.training.refit_epochs or self.job.training.max_epochs


def make_job(
    variant: VariantParams,
    seed: int,
    panel: Path,
    windows: WindowParams,
    split: Split,
    device: str,
    others: Sequence[Split] = (),
) -> Job:
    """Everything that a fit depends on; for an ensemble, `members` are the jobs of the fits that it combines.

    `others`: the run's other validation ranges, on which a greedy ensemble's weights are learnt too.
    """
    training, scaling = variant.run.training, variant.run.scaling
    names = (
        "max_epochs",
        "patience_epochs",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "clip_norm",
        "loss",
        "monitor",
        "average_epochs",
    )
    numbers = {name: getattr(training, name) for name in (*names, "precision", "max_steps", "max_seconds")}
    numbers["loss"] = loss = variant.run.losses.get(training.loss, training.loss)
    whole = device != "cpu" and training.micro_batches == "auto"  # the rule is for CPUs
    parts = 1 if whole or variant.members else micro_batches(variant, windows.lookback)
    return Job(
        family=variant.family,
        network={} if variant.members else own_network(variant),
        windows=windows,
        split=split,
        scaling=Rule(scaling.per, scaling.window, scaling.method, scaling.target),
        training=Training(**numbers, variant=variant.draws_as or variant.variant, seed=seed, micro_batches=parts),
        evaluation_stride=variant.run.evaluation.stride,
        threads=training.threads,
        device="cpu" if is_closed_form(variant.family) else device,
        panel=panel,
        quantiles=() if variant.members else tuple(training.quantiles),
        point=None if variant.members else training.point,
        members=tuple(
            job for member in variant.members for job in _member_jobs(member, panel, windows, split, device, training.threads)
        ),
        combine=variant.combine,
        greedy=_greedy(variant.run, others) if variant.greedy else None,
        resources=resources_of(training),
        outside=code_of(variant.family, loss),
    )


def _greedy(run: RunParams, others: Sequence[Split]) -> Greedy:
    """How a greedy ensemble's weights are learnt: by the measure that the run chooses by."""
    bounds = run.data.lowest, run.data.highest, bool(run.data.integer)
    return Greedy(run.evaluation.choose_by, run.evaluation.season, *bounds, tuple(others))


def _member_jobs(
    variant: VariantParams, panel: Path, windows: WindowParams, split: Split, device: str, threads: int
) -> list[Job]:
    """The jobs of every seed of a member; for a baseline one, with its ensemble's threads."""
    if is_baseline(variant.family):
        evaluation = variant.run.evaluation
        job = baseline_job(variant.variant, evaluation.season, windows, split, evaluation.stride, panel, family=variant.family)
        return [replace(job, threads=threads)]
    return [make_job(variant, number, panel, windows, split, device) for number in range(seeds_of(variant))]


def baseline_job(
    name: str, season: int, windows: WindowParams, split: Split, stride: int, panel: Path, family: str = ""
) -> Job:
    """A baseline as a job: its family is its name, its network its arguments; training numbers do not matter.

    `windows`: those of the run, of which it reads only the target.  `family`: of one from outside.
    """
    idle = Training(
        max_epochs=1, patience_epochs=1, batch_size=1, learning_rate=1.0, weight_decay=0.0, clip_norm=1.0, loss="mae",
        variant=name, seed=0,
    )  # fmt: skip
    return Job(
        family=family or name,
        network=arguments_of(family or name, season).to_dict(),
        windows=WindowParams(horizon=windows.horizon, gap=windows.gap, features={"y": FeatureWindow(lookback=1)}),
        split=split,
        scaling=Rule("global", "none"),
        training=idle,
        evaluation_stride=stride,
        threads=1,
        device="cpu",
        panel=panel,
        outside=code_of(family.removeprefix(OUTSIDE)),
    )


def plan_fits(
    run: RunParams,
    variants: Mapping[str, VariantParams],
    panel: Path,
    windows: WindowParams,
    splits: Sequence[Split],
    device: str,
    earlier: Sequence[Split] = (),
) -> list[Planned]:
    """Every fit of a run; for each further split, rolling refits of these (lstm@2, lstm@3, ...); and for each
    `earlier` validation range, oldest first, those of its fold (lstm~1, lstm~2, ...).  Greedy ensembles come
    last: they wait for all others."""
    last = len(earlier) + 1

    def fits(split: Split, others: Sequence[Split], mark: str, kind: Kind, fold: int) -> list[Planned]:
        return [
            Planned(
                label=f"{label}{mark}",
                variant=variants[name],
                job=make_job(variants[name], seed, panel, windows, split, device, others),
                kind=kind,
                first=label if mark else "",
                fold=fold,
            )
            for label, name, seed in labels_of(run, variants)
        ]

    planned = fits(splits[0], earlier, "", Kind.VARIANT, last)
    for number, split in enumerate(splits[1:], start=2):
        planned += fits(split, earlier, f"@{number}", Kind.REFIT, last)
    for number, split in enumerate(earlier, start=1):
        others = [splits[0], *(other for other in earlier if other != split)]
        planned += fits(split, others, f"~{number}", Kind.FOLD, number)
    return sorted(planned, key=lambda fit: fit.variant.greedy)
