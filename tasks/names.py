"""Names that a user gave and names of ours, kept apart: how a column is picked by its name alone, and what gives way.

The rule of the house: a frame that holds a user's columns under their own names holds no helper column beside them.  A helper
stands in a frame of its own, or the user's columns stand in it by number.  In frames of forecasts, which have a column a
variant, helpers begin with an underscore: no variant's name can.
"""

from collections.abc import Collection, Iterable

import polars as pl
import polars.selectors as cs


def column(name: str) -> pl.Expr:
    """The one column of this name; `pl.col` takes `*` and `^...$` for patterns."""
    return cs.by_name(name).as_expr()


def apart(name: str, ours: Collection[str]) -> str:
    """The name, with as many underscores behind it as it takes to meet none of ours."""
    while name in ours:
        name += "_"
    return name


def all_apart(names: Iterable[str], ours: Collection[str]) -> dict[str, str]:
    """Each name -> what it is called beside `ours` and the others: itself, where it meets none of ours."""
    names = list(dict.fromkeys(names))
    found: dict[str, str] = {}
    for name in names:
        found[name] = apart(name, {*ours, *found.values(), *(other for other in names if other != name)})
    return found
