"""Several validation ranges in sequence (`split.folds`): every variant is trained for each, on prior rows.

A fit of an earlier fold is an ordinary fit on earlier borders, shared by any run with these borders.  It
forecasts its own validation range; scored on the test, registered and refitted is the fit of the last fold.
"""

from collections.abc import Sequence
from dataclasses import replace

from tasks.evaluate.frames import blocks_of, write_blocks
from tasks.evaluate.rolling import with_repeats
from tasks.train.fits import Fit
from tasks.train.kind import Kind


def join_folds(fits: Sequence[Fit]) -> list[Fit]:
    """The fits of the last fold, each with its validation forecasts of all folds in sequence, oldest first.

    A fit fails if one of its earlier folds did: it must not be chosen by the remaining ones.
    """
    return with_repeats(fits, Kind.FOLD, _joined)


def _joined(fit: Fit, earlier: Sequence[Fit]) -> Fit:
    ordered = sorted(earlier, key=lambda each_fit: each_fit.planned.fold)
    path = fit.folder / "validation-folds.parquet"
    write_blocks(
        (block for each_fit in (*ordered, fit) if each_fit.validation for block in blocks_of(each_fit.validation)), path
    )
    return replace(fit, validation=path, earlier=tuple(ordered))
