"""Gathers the past of windows from the rows of a panel, at memory speed for most window shapes.

Shapes: B batch, L lookback (the longest), W channels of the panel, F past channels (the first of them), R
rows of a span.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from models.data.window import FeatureWindow

LINE = 16  # floats per cache line
SPARSE = 4  # gather single rows, not whole spans, from this many cache lines per sample


class _Group(NamedTuple):
    """Neighbouring channels that share a window different from the main one."""

    window: FeatureWindow
    columns: slice
    places: slice  # its positions in a batch

    def rows(self, reach: int) -> range:
        """The rows it reads, relative to the first row that any feature reads."""
        return range(reach - self.window.reach, reach - self.window.delay + 1, self.window.sampling_rate)


class PastGather:
    """Gathers [B, L, F] values, right-aligned, NaN in the older places of shorter features.

    The window that most channels share (except for their lookback) is gathered as whole rows, which costs as
    much as gathering one of their columns alone.  Other groups are copied from those rows if they lie among
    them or so near that reading a few more rows is cheaper than a second pass over the panel; otherwise they
    are read from the panel.

        rows of the panel     - - - - - - - - - - - - - - - - - - - - - - - -
        _span                             |- - - - - - - - - - - - - - - - - |   gathered as whole rows
        _main                                       x x x x x x x x x x x x      most channels: a slice of the span
        _near                             x   x   x   x   x   x   x   x          other groups whose rows lie in the span
        _far                  x     x     x     x     x     x                    other groups, each by a gather of its own
        _unseen                                     . . . . . x x x x x x x      a shorter feature: the dots become NaN

    `_in_place`: the gathered rows themselves become the batch.  `_whole`: they need no further work.
    """

    def __init__(self, values: Tensor, windows: Sequence[FeatureWindow], reach: int, lookback: int = 0) -> None:
        """`values` [rows, W]; `windows`: of the first F channels; `lookback`: L, if none is that long.

        `reach`: rows from the origin back to the first row read.
        """
        self._values, self._width, self._reach, self._channels = values, values.shape[1], reach, len(windows)
        self._lookback = max(lookback, *(window.lookback for window in windows))
        (rate, delay), _ = Counter((w.sampling_rate, w.delay) for w in windows).most_common(1)[0]
        common = max(w.lookback for w in windows if (w.sampling_rate, w.delay) == (rate, delay))
        others = [group for group in self._split(windows) if (group.window.sampling_rate, group.window.delay) != (rate, delay)]
        stop = reach - delay + 1  # relative to the first row that any feature reads
        self._in_place = rate == 1 and stop >= self._lookback  # enough rows that they can be the batch themselves
        places = self._lookback if self._in_place else common
        rows = range(stop - 1 - rate * (places - 1), stop, rate)
        self._span = self._widened(rows, others)
        self._main = self._within_span(rows)
        self._older = self._lookback - places
        near = [group for group in others if self._span.step == 1 and set(group.rows(reach)) <= set(self._span)]
        self._near = [(group, self._within_span(group.rows(reach))) for group in near]
        self._far = [(group, self._view(group.rows(reach), group.columns)) for group in others if group not in near]
        self._rows = self._view(self._span, slice(0, self._width))
        self._unseen = self._unseen_places(windows)
        alone = not (self._near or self._far) and self._unseen is None
        self._whole = self._in_place and alone and len(self._span) == self._lookback and self._width == self._channels

    def _split(self, windows: Sequence[FeatureWindow]) -> list[_Group]:
        groups, start = [], 0
        for stop in range(1, len(windows) + 1):
            if stop == len(windows) or windows[stop] != windows[start]:
                places = slice(self._lookback - windows[start].lookback, self._lookback)
                groups.append(_Group(windows[start], slice(start, stop), places))
                start = stop
        return groups

    def _widened(self, rows: range, groups: Sequence[_Group]) -> range:
        """The whole rows to gather: contiguous if that is faster, with those of near groups."""
        lines = -(-self._width // LINE)
        if rows.step > 1 and rows.step * lines > SPARSE:
            return rows
        span = range(rows[0], rows[-1] + 1)
        for group in sorted(groups, key=lambda group: group.window.reach):
            wanted = group.rows(self._reach)
            wider = range(min(span.start, wanted[0]), max(span.stop, wanted[-1] + 1))
            if (len(wider) - len(span)) * lines <= len(wanted):  # a single sample costs a line too
                span = wider
        return span

    def _within_span(self, rows: range) -> slice:
        """The slice of the span that holds `rows`."""
        step = self._span.step
        return slice((rows[0] - self._span[0]) // step, (rows[-1] - self._span[0]) // step + 1, rows.step // step)

    def _view(self, rows: range, columns: slice) -> Tensor:
        """[starts, ...]: some columns of the rows that follow each panel row, as a view."""
        size, width = self._values.shape
        starts, count = max(size - self._reach, 0), columns.stop - columns.start
        offset = rows[0] * width + columns.start
        if rows.step * width == count:  # gathering one long row is several times as fast
            return self._values.as_strided((starts, len(rows) * width), (width, 1), offset)
        return self._values.as_strided((starts, len(rows), count), (width, rows.step * width, 1), offset)

    def _unseen_places(self, windows: Sequence[FeatureWindow]) -> Tensor | None:
        """Additive mask [L, W]: NaN before a shorter feature's window, else -0.0 (adding it changes nothing).

        None where all windows are equally long.
        """
        if min(window.lookback for window in windows) == self._lookback:
            return None
        places_LW = self._values.new_full((self._lookback, self._width), -0.0)
        for column, window in enumerate(windows):
            places_LW[: self._lookback - window.lookback, column] = torch.nan
        return places_LW

    def __call__(self, first_B: Tensor) -> Tensor:
        """[B, L, F] for the windows with the given first rows (the first row that any feature reads)."""
        size, width = len(first_B), self._width
        rows_BRW = self._rows.index_select(0, first_B).view(size, len(self._span), width)
        if self._whole:
            return rows_BRW
        if self._in_place:
            past_BLW = rows_BRW[:, self._main]
        else:
            past_BLW = rows_BRW.new_empty(size, self._lookback, width)
            past_BLW[:, self._older :] = rows_BRW[:, self._main]
        self._copy(past_BLW, rows_BRW)
        for group, view in self._far:
            count = group.columns.stop - group.columns.start
            past_BLW[:, group.places, group.columns] = view.index_select(0, first_B).view(size, -1, count)
        if self._unseen is not None:
            past_BLW += self._unseen
        return past_BLW if width == self._channels else past_BLW[..., : self._channels]

    def _copy(self, past_BLW: Tensor, rows_BRW: Tensor) -> None:
        """Copies the samples of the near groups to their places, which may overlap the source rows."""
        past, rows = cast(Any, past_BLW), cast(Any, rows_BRW)
        on_cpu = past_BLW.device.type == "cpu"
        if self._near and on_cpu:  # numpy copies strided elements a third faster than torch and handles overlaps
            past, rows = past_BLW.numpy(), rows_BRW.numpy()
        for group, places in self._near:
            samples = rows[:, places, group.columns]
            past[:, group.places, group.columns] = samples if on_cpu else samples.clone()
