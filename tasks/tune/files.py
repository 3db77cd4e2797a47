"""The variant files a search writes, marked by their first line; never replaces anybody else's file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from params.errors import UserError
from params.load import PARAMS, Plan
from params.schema import VariantParams
from params.section import NAME
from tasks.files import RUN_FILES, placed, require_writable
from tasks.tune.space import Space
from tasks.tune.trial import Trial

FIRST = "# Written by `python -m flows tune`, which replaces it; keep a copy under another name."


def file_of(variant: str, place: int = 0) -> Path:
    """The path for the best trial of a variant (`place` 0), the second best (1), and so on."""
    return PARAMS / "variants" / f"{variant}_tuned{f'_{place + 1}' if place else ''}.yaml"


def check_free(path: Path) -> None:
    """Raises UserError if no variant file can be put there, or a file exists that no search wrote."""
    require_writable("--out", path, RUN_FILES[:1])
    if not re.fullmatch(NAME, path.stem):
        raise UserError(f"--out {path}: a variant is called by 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit")
    if path.exists() and not is_ours(path):
        raise UserError(f"{path} was not written by tune and stays: name another with --out FILE, or move it away")


def is_ours(path: Path) -> bool:
    """Whether a search wrote a file."""
    with path.open("rb") as file:
        return file.readline().strip() == FIRST.encode()


def best_as_file(plan: Plan, space: Space, trial: Trial, path: Path, words: str) -> VariantParams:
    """Writes a trial's values as a variant file; returns the variant.  `words`: its one-line description."""
    about = f"{space.variant} with the values that tune found best for {plan.run.name}"
    variant, tree = plan.tuned(space.variant, path.stem, space.changed(trial.values), about)
    check_free(path)
    with placed(path) as partial:
        partial.write_text(f"{FIRST}\n# {words}\n{_yaml(tree)}", encoding="utf-8")
    return variant


def _yaml(tree: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120))
