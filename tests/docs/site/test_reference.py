"""docs/site/reference.py: the reference pages say what the code says, and leave nothing out."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from docs.site.reference import NAMED, columns_page, commands_page, params_page, sections, variants_page
from params.load import load_plan, variant_names
from params.schema import RunParams
from tasks.report.columns import COLUMNS

ROOT = Path(__file__).resolve().parents[3]


def rows(page: str) -> dict[str, dict[str, list[str]]]:
    """The tables of a page: of each section the cells after the first, by the first."""
    found: dict[str, dict[str, list[str]]] = {}
    for part in re.split(r"(?m)^## ", page):
        lines = [line for line in part.splitlines() if line.startswith("| `")]
        cells = [[one.strip().replace("\\|", "|") for one in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        found[part.splitlines()[0].strip("`")] = {first.strip("`"): rest for first, *rest in cells}
    return found


@pytest.fixture(scope="module")
def keys() -> dict[str, dict[str, list[str]]]:
    return rows(params_page())


def test_every_key_of_a_run_file_is_there_with_its_meaning(keys: dict[str, dict[str, list[str]]]) -> None:
    for prefix, model in sections(RunParams):
        assert list(keys[prefix or "The file itself"]) == list(model.model_fields)
    without = [f"{place}.{key}" for place, table in keys.items() for key, (_, _, meaning) in table.items() if not meaning]
    assert without == []


def test_types_bounds_and_defaults_are_those_of_the_schema_and_base_yaml(keys: dict[str, dict[str, list[str]]]) -> None:
    assert keys["windows"]["horizon"] == ["whole number (at least 1, at most 10,000)", "required", "steps to forecast"]
    assert keys["training"]["max_seconds"][:2] == ["number (above 0)", "`null`"]
    assert keys["training"]["loss"][:2] == ["`mae` or `mse` or `huber` or text", "`mae`"]
    assert keys["split"]["validation"][0] == NAMED["_is_border"]
    assert keys["evaluation"]["levels"][:2] == ["list of whole number", "`[80, 90, 95]`"]
    run = load_plan(ROOT / "params" / "smoke.yaml").run
    assert keys["scaling"]["window"][1] == f"`{run.scaling.window}`"  # which smoke.yaml leaves as it is in base.yaml
    assert keys["training"]["patience_epochs"][1] == f"`{run.training.patience_epochs}`"


def test_a_key_without_a_comment_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(BaseModel):
        plain: int

    Bare.__module__ = "elsewhere"
    monkeypatch.setattr("params.schema.RunParams", Bare)
    assert rows(params_page())["The file itself"] == {"plain": ["whole number", "required", ""]}


def test_every_verb_is_there_with_its_options() -> None:
    verbs = rows(commands_page())
    assert {"compare", "promote", "forecast", "init", "serve"} <= set(verbs)
    assert verbs["compare"]["--set KEY=VALUE"][0] == "" and "PARAMS" in verbs["compare"]
    assert verbs["forecast"]["NAME@VERSION"][0] == "required"
    assert not any("[/" in cell for table in verbs.values() for cells in table.values() for cell in cells)


def test_every_variant_and_every_column_is_there() -> None:
    (variants,) = (table for table in rows(variants_page()).values() if table)
    assert list(variants) == sorted(variant_names())
    (columns,) = (table for table in rows(columns_page()).values() if table)
    assert list(columns) == [one.name for one in COLUMNS]
