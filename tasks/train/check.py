"""Checks variants by building them without memory, before data are read; measures their size and field."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from models.baselines import LONGEST_SEASON
from models.data.panel import Panel
from models.data.refused import LOG1P, REFUSED
from models.data.window import WindowParams
from models.data.windows import Inputs
from models.families import build_forecaster, family_of
from models.fit.job import Job, is_baseline, is_closed_form
from models.fit.settings import Resources, own_generators
from models.forecaster import Forecaster, Skip
from models.memory_card import receptive_field
from params.errors import UserError
from params.load import Plan, place_of
from params.schema import RunParams, TrainingParams, VariantParams
from tasks.engine.choice import engine
from tasks.train.outside import check_baselines, check_outside, key_of, take_in_all


def own_network(variant: VariantParams) -> dict[str, Any]:
    """The arguments of a variant's network, without shared ones that its family does not take; `season`
    defaults to that of the evaluation."""
    kind = family_of(variant.family)
    takes = [*inspect.signature(kind).parameters, *([] if kind.linear else ["skip"])] if kind else []
    season = {"season": variant.run.evaluation.season} if "season" in takes else {}
    return season | {name: value for name, value in variant.network.items() if name in takes or name not in variant.shared}


def check_shared(variants: Sequence[VariantParams]) -> None:
    """Raises UserError for a shared network argument that none of the run's variants takes."""
    variants = [member for variant in variants for member in (variant.members or (variant,))]
    for name in sorted(set().union(*(variant.shared for variant in variants))):
        if name == "skip":  # linear families rightly ignore it
            _check_skip(next(variant.network[name] for variant in variants if name in variant.network))
        elif not any(name in own_network(variant) for variant in variants):
            known = sorted({argument for variant in variants for argument in own_network(variant)})
            raise UserError(f"network.{name}: no variant of this run takes it; theirs have: {', '.join(known) or 'none'}")


def _check_skip(value: object) -> None:
    if value not in get_args(Skip):
        raise UserError(f"network.skip: {value!r} is not one of {', '.join(get_args(Skip))}")


def check_variant(variant: VariantParams, windows: WindowParams) -> int:
    """Builds a variant without memory and passes a window through; returns its number of parameters.

    Raises UserError naming the variant for an unknown argument, a wrong type or shapes that do not fit, and
    for an ensemble with a baseline that does not support the season.  A greedy ensemble uses the run's own
    variants, which are checked separately, and omits what does not forecast.
    """
    if variant.greedy:
        return 0
    if variant.members:
        for member in variant.members:
            _check_season(variant, member)
        return sum(check_variant(member, windows) * seeds_of(member) for member in variant.members)
    if is_baseline(variant.family):
        return 0
    with _named(variant), torch.device("meta"):
        forecaster = _build(variant, windows)
        shape = tuple(forecaster.eval()(*Inputs.zeros(windows, 2)).shape)
    if shape[:2] != (2, windows.horizon):
        family = key_of(variant) or f"family {variant.family}"
        raise UserError(f"variant {variant.variant}: {family} gives {shape}, not [batch, {windows.horizon}, outputs]")
    return sum(p.numel() for p in forecaster.parameters())


def _check_season(ensemble: VariantParams, member: VariantParams) -> None:
    season, longest = member.run.evaluation.season, LONGEST_SEASON.get(member.family)
    if longest is not None and season > longest:
        raise UserError(
            f"variant {ensemble.variant} ({place_of(ensemble.variant)}): {member.family} takes a season of {longest}"
            f" rows at most, and evaluation.season is {season}; leave it out of the ensemble"
        )


class Size(NamedTuple):
    """The parameters of a variant, and its receptive field in samples."""

    parameters: int
    field: int


def sizes(variants: Mapping[str, VariantParams], windows: WindowParams) -> dict[str, Size]:
    """The size of each variant, building every network once; an ensemble is as large as all its members.

    Raises UserError as `check_variant` does.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for such small networks threads only wait for each other
    try:
        by_name = {name: _size(variant, windows) for name, variant in variants.items() if not variant.members}
        for name, ensemble in variants.items():
            if ensemble.members:
                parts = [
                    (seeds_of(variant), by_name.get(variant.variant) or _size(variant, windows)) for variant in ensemble.members
                ]
                by_name[name] = Size(
                    sum(seeds * part.parameters for seeds, part in parts), max(part.field for _, part in parts)
                )
    finally:
        torch.set_num_threads(threads)
    return {name: by_name[name] for name in variants}


def _size(variant: VariantParams, windows: WindowParams) -> Size:
    """With new weights; those that start at zero are drawn, so as to hide no sample.  Baselines have none."""
    if is_baseline(variant.family):
        return Size(0, 0)
    with _named(variant), own_generators():
        torch.manual_seed(0)
        forecaster = _build(variant, windows)
        for parameter in forecaster.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter)
        return Size(sum(p.numel() for p in forecaster.parameters()), receptive_field(forecaster, windows))


def _build(variant: VariantParams, windows: WindowParams) -> Forecaster:
    level, training = variant.run.scaling.window, variant.run.training
    network, quantiles = own_network(variant), training.quantiles
    return build_forecaster(variant.family, network, windows, level=level, quantiles=quantiles, point=training.point)


@contextmanager
def _named(variant: VariantParams) -> Iterator[None]:
    """Converts errors of a network into a UserError that names the variant."""
    try:
        yield
    except Exception as error:
        key = key_of(variant)
        if not key and not isinstance(error, ValueError | TypeError | RuntimeError):
            raise
        what = f"{key}: {type(error).__name__}: {error}" if key else str(error)
        raise UserError(f"variant {variant.variant} ({place_of(variant.variant)}): {what}") from error


def seeds_of(variant: VariantParams) -> int:
    """The number of fits of a variant: one for a closed form, an ensemble or a baseline (no seed)."""
    seedless = is_closed_form(variant.family) or is_baseline(variant.family) or bool(variant.members)
    return 1 if seedless else variant.run.training.seeds


def member_labels(variant: VariantParams) -> tuple[str, ...]:
    """The labels of an ensemble's members, as fits and baselines of a run, in the order of its job."""
    return tuple(_label(member.variant, seed) for member in variant.members for seed in range(seeds_of(member)))


def _label(variant: str, seed: int) -> str:
    return variant if seed == 0 else f"{variant}-s{seed}"


def labels_of(run: RunParams, variants: Mapping[str, VariantParams]) -> list[tuple[str, str, int]]:
    """Every fit of a run: (label, variant, seed); the first seed has the variant's own name.

    A closed form has no seed to vary and is fitted once.
    """
    fits = []
    for name in run.variants:
        seeds = seeds_of(variants[name])
        fits += [(_label(name, seed), name, seed) for seed in range(seeds)]
    fits.sort(key=lambda fit: bool(variants[fit[1]].members))  # ensembles after their members
    for label, _, _ in fits:
        if sum(label == other for other, _, _ in fits) > 1:
            raise UserError(f"variants: {label!r} is a variant and a further seed of another: rename it ({place_of(label)})")
    return fits


def check_target(panel: Panel, jobs: Sequence[Job]) -> None:
    """Raises UserError if a fit takes the logarithm of a target that has none, like the run's checks."""
    every = [part for job in jobs for part in (job, *job.members)]
    bad = np.flatnonzero(panel.target <= LOG1P)
    for job in every:
        if job.scaling.target == "log1p" and len(bad):
            owner = panel.ids[int(np.searchsorted(panel.offsets, bad[0], side="right")) - 1]
            what = f"series {owner!r} has a target of {panel.target[bad[0]]:g}"
            raise UserError(f"variant {job.training.variant}: {what}; {REFUSED['log1p']}")


def resources_of(training: TrainingParams) -> Resources:
    """The resources of a fit, from its params."""
    return Resources(**training.resources.model_dump())


def check_plan(plan: Plan) -> None:
    """Checks device and shelf, builds all variants without memory before data are read.  Raises UserError."""
    from tasks.shelf import shelf  # imports polars and Prefect, which listing variants does not need

    shelf()
    take_in_all(plan)
    check_baselines(plan.run)
    device = engine().device()
    for variant in plan.variants.values():
        training = variant.run.training
        engine().jobs(training.threads, device, resources_of(training))
    labels_of(plan.run, plan.variants)
    check_levels(plan.run)
    check_shared(list(plan.variants.values()))
    for variant in plan.variants.values():
        check_variant(variant, plan.run.windows.window_params())
        check_outside(variant)


def check_levels(run: RunParams) -> None:
    """Raises UserError for an interval of evaluation.levels beyond the forecast quantiles."""
    low, high = run.quantile_levels[0], run.quantile_levels[-1]
    for level in run.evaluation.levels:
        outside = (100 - level) / 200
        if outside < low - 1e-9 or 1 - outside > high + 1e-9:
            raise UserError(
                f"evaluation.levels: the interval of {level} % ends at the quantiles {outside:g} and {1 - outside:g}, and "
                f"training.quantiles go from {low:g} to {high:g}: add those two, or leave {level} out"
            )


def only_those_that_fit(plan: Plan, say: Callable[[str], None]) -> Plan:
    """The plan without variants that cannot handle the run's windows; says which and why.

    Raises UserError if none is left.
    """
    fitting, last = [], None
    for name, variant in plan.variants.items():
        try:
            check_variant(variant, plan.run.windows.window_params())
            fitting.append(name)
        except UserError as error:
            last = error
            say(f"  left out: {error}")
    if last is not None and not any(not plan.variants[name].members for name in fitting):
        fitting = [name for name in fitting if not plan.variants[name].greedy]  # they have nothing to combine
    if last is not None and not fitting:
        raise last
    return plan.only(fitting)
