"""Several validation ranges, one before another (`split.folds`): every variant is trained for each, on what was before it.

A fit of an earlier fold is an ordinary fit on borders that lie further back, which any other run with these borders shares.  It
forecasts its own validation range; what is scored on the test, registered and trained again is the fit of the last fold.
"""

from collections.abc import Sequence
from dataclasses import replace

from tasks.evaluate.frames import blocks_of, write_blocks
from tasks.evaluate.rolling import with_repeats
from tasks.train.fits import Fit
from tasks.train.kind import Kind


def join_folds(fits: Sequence[Fit]) -> list[Fit]:
    """The fits of the last fold, each with its validation forecasts of all folds, one after another, the oldest first.

    A fit of which an earlier fold failed has failed: nothing may choose it by what is left.
    """
    return with_repeats(fits, Kind.FOLD, _joined)


def _joined(fit: Fit, earlier: Sequence[Fit]) -> Fit:
    ordered = sorted(earlier, key=lambda one: one.planned.fold)
    path = fit.folder / "validation-folds.parquet"
    write_blocks((block for one in (*ordered, fit) if one.validation for block in blocks_of(one.validation)), path)
    return replace(fit, validation=path, earlier=tuple(ordered))
