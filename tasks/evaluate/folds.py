"""Several validation ranges, one before another (`split.folds`): every variant is trained for each, on what was before it.

A fit of an earlier fold is an ordinary fit on borders that lie further back, which any other run with these borders shares.  It
forecasts its own validation range; what is scored on the test, registered and trained again is the fit of the last fold.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from tasks.files import write_parquet
from tasks.train.fits import Fit
from tasks.train.kind import Kind


def join_folds(fits: Sequence[Fit]) -> list[Fit]:
    """The fits of the last fold, each with its validation forecasts of all folds, one after another, the oldest first.

    A fit of which an earlier fold failed has failed: nothing may choose it by what is left.
    """
    earlier: dict[str, list[Fit]] = {}
    for fit in fits:
        if fit.planned.kind is Kind.FOLD:
            earlier.setdefault(fit.planned.first, []).append(fit)
    return [_joined(fit, earlier.get(fit.label, [])) for fit in fits if fit.planned.kind is not Kind.FOLD]


def _joined(fit: Fit, earlier: Sequence[Fit]) -> Fit:
    failed = next((one for one in earlier if not one.finished), None)
    if not fit.finished or not earlier:
        return fit
    if failed is not None:
        return fit.failed(f"{failed.label}: {failed.result.reason}")
    ordered = sorted(earlier, key=lambda one: one.planned.fold)
    path = fit.folder / "validation-folds.parquet"
    write_parquet(pl.concat([pl.read_parquet(one.validation) for one in (*ordered, fit) if one.validation]), path)
    return replace(fit, validation=path, earlier=tuple(ordered))
