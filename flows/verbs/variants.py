"""The verb variants: the zoo as a table."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from flows.runtime.terminal import print_json
from params.load import load_plan, variant_names, variants_setting
from tasks.train.check import sizes

DEFAULT = Path("params/nyc_weather.yaml")


class Listed(NamedTuple):
    """A variant as `variants` lists it."""

    name: str
    family: str
    parameters: int
    receptive_field: int
    about: str


def show_variants(as_json: bool) -> None:
    """Prints every variant: family, parameters and receptive field for the shipped windows, and purpose."""
    plan = load_plan(DEFAULT, [variants_setting(variant_names())])
    windows = plan.run.windows.window_params()
    measured = sizes(plan.variants, windows)
    rows = [Listed(name, variant.family, *measured[name], variant.about) for name, variant in plan.variants.items()]
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    title = f"Variants, sized for {DEFAULT}: lookback {windows.lookback}, horizon {windows.horizon} (field: in samples)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column, side in (("name", "left"), ("family", "left"), ("parameters", "right"), ("field", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("what it is for")
    for row in rows:
        table.add_row(row.name, row.family, f"{row.parameters:,}", str(row.receptive_field), row.about)
    Console().print(table)
