"""Keeps users' column names apart from ours: selects columns literally, and renames on collision.

The rule: a frame with a user's columns under their own names holds no helper columns.  Helpers go into a
frame of their own, or the user's columns are numbered.  In forecast frames, which have a column per variant,
helpers begin with an underscore, which no variant's name does.
"""

from collections.abc import Collection, Iterable

import polars as pl
import polars.selectors as cs


def column(name: str) -> pl.Expr:
    """The column of exactly this name; `pl.col` treats `*` and `^...$` as patterns."""
    return cs.by_name(name).as_expr()


def apart(name: str, ours: Collection[str]) -> str:
    """The name, with underscores appended until it collides with none of ours."""
    while name in ours:
        name += "_"
    return name


def all_apart(names: Iterable[str], ours: Collection[str]) -> dict[str, str]:
    """Each name -> itself, or a variation that collides with none of `ours` and of the others."""
    names = list(dict.fromkeys(names))
    distinct: dict[str, str] = {}
    for name in names:
        distinct[name] = apart(name, {*ours, *distinct.values(), *(other for other in names if other != name)})
    return distinct
