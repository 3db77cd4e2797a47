"""The search space of a variant in a run: its dimensions without those a setting fixes, its own values."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.families import family_of
from params.errors import UserError
from params.load import Plan, parse_setting, place_of, variant_names
from params.schema import VariantParams
from params.search import Dimension, Value, path_of
from tasks.train.check import check_variant, own_network


@dataclass(frozen=True)
class Space:
    """The search space of a variant.

    `start`: its own values, which the first trial takes; None if some lie `outside` the search.  `fixed`: the
    keys that a setting fixes.  `monitor`: what picks the best epoch."""

    variant: str
    dimensions: Mapping[str, Dimension]
    start: Mapping[str, Value] | None
    fixed: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    monitor: str = "mae"

    @property
    def column(self) -> str:
        """The error in an epoch's row that prunes trials: a scaled one only if all are scaled alike."""
        alike = not any(path_of(key)[0] == "scaling" for key in self.dimensions)
        return "val_loss" if self.monitor == "loss" and alike else "val_mae"

    def changed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values that differ from the variant's own; if none does, its fit is the variant's."""
        return {key: value for key, value in values.items() if self.start is None or self.start.get(key) != value}


def searched(plan: Plan) -> dict[str, Space]:
    """The space of each variant of a plan.  Raises UserError if it is missing or its ends cannot be built."""
    lacking = [name for name, variant in plan.variants.items() if not variant.search]
    if lacking:
        raise UserError(f"{', '.join(lacking)}: no `search:` in {place_of(lacking[0])}; {_that_have(plan)}")
    return {name: _space(plan, variant) for name, variant in plan.variants.items()}


def those_with_search(plan: Plan) -> Plan:
    """The plan with only those variants that have a search.  Raises UserError if none has."""
    names = [name for name, variant in plan.variants.items() if variant.search]
    if not names:
        raise UserError(f"{plan.path}: no variant of this run has a `search:` section; {_that_have(plan)} (--variants A,B)")
    return plan.only(names)


def _that_have(plan: Plan) -> str:
    names = [name for name in variant_names() if plan.layers.own(name)[0].get("search")]
    return f"those that have: {', '.join(names) or 'none'}"


def _space(plan: Plan, variant: VariantParams) -> Space:
    held = [parse_setting(text)[0] for text in plan.settings]
    fixed = [key for key in variant.search if any(path_of(key)[: len(path)] == path[:2] for path in held)]
    free = {key: dimension for key, dimension in variant.search.items() if key not in fixed}
    if not free:
        raise UserError(f"{variant.variant}: --set holds fast all that its search may change: {', '.join(fixed)}")
    _check_ends(plan, variant, free)
    start = _values_of(variant, free)
    outside = tuple(key for key, value in start.items() if not free[key].holds(value))
    own_values = {key: value for key, value in start.items() if value is not None}
    return Space(variant.variant, free, None if outside else own_values, tuple(fixed), outside, variant.run.training.monitor)


def _values_of(variant: VariantParams, keys: Sequence[str] | Mapping[str, Dimension]) -> dict[str, Value | None]:
    """A variant's values: from its file or the run, else its network constructor's defaults."""
    kind = family_of(variant.family)
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()} if kind else {}
    network = {
        **{name: value for name, value in defaults.items() if value is not inspect.Parameter.empty},
        **own_network(variant),
    }
    run = variant.run
    sections = {"training": run.training.model_dump(), "scaling": run.scaling.model_dump(), "network": network}
    values = {}
    for key in keys:
        section, name = path_of(key)
        values[key] = sections[section].get(name)
    return values


def _check_ends(plan: Plan, variant: VariantParams, dimensions: Mapping[str, Dimension]) -> None:
    """Builds the variant at both ends of every dimension, without allocating memory."""
    windows, lines = plan.run.windows.window_params(), plan.layers.own(variant.variant)[1]
    for key, dimension in dimensions.items():
        for value in dimension.ends:
            try:
                check_variant(plan.tuned(variant.variant, variant.variant, {key: value})[0], windows)
            except UserError as error:
                where = lines.get(("search", key), place_of(variant.variant))
                raise UserError(f"{where}: search: {key}: {value} cannot be tried: {error}") from None
