"""How the past of windows is gathered from the rows of a panel: at memory speed for most shapes of window, and never a table.

Shapes: B batch, L lookback (the longest), W channels of the panel, F past channels (the first of them), R rows of a span.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from models.windows import FeatureWindow

LINE = 16  # floats that memory hands over at once


class _Group(NamedTuple):
    """Neighbouring channels with the same window, which is not that of most channels."""

    window: "FeatureWindow"
    columns: slice
    places: slice  # where its samples stand in a batch

    def rows(self, reach: int) -> range:
        """The rows it reads, counted from the first row that any feature reads."""
        return range(reach - self.window.reach, reach - self.window.delay + 1, self.window.sampling_rate)


class PastGather:
    """Gathers [B, L, F] values, right-aligned, NaN in the older places of shorter features.

    The window that most channels have in common (but for their lookback) is gathered as whole rows, which costs as much as one
    column of them alone.  Other groups are copied from those rows where they lie among them or so near that a few rows more
    are cheaper than to read the panel once again for this group; else they are read from the panel.
    """

    def __init__(self, values: Tensor, windows: Sequence["FeatureWindow"], reach: int) -> None:
        """`values` [rows, W]; `windows` of the first F channels; `reach`: rows from the origin back to the first row read."""
        self._values, self._reach, self._channels = values, reach, len(windows)
        self._lookback = max(window.lookback for window in windows)
        (rate, delay), _ = Counter((w.sampling_rate, w.delay) for w in windows).most_common(1)[0]
        lookback = max(w.lookback for w in windows if (w.sampling_rate, w.delay) == (rate, delay))
        self._older = self._lookback - lookback  # places before the whole rows
        stop = reach - delay + 1
        rows = range(stop - rate * (lookback - 1) - 1, stop, rate)
        others = [group for group in self._split(windows) if (group.window.sampling_rate, group.window.delay) != (rate, delay)]
        self._span = self._widen(rows, others) if rate == 1 else rows
        near = [group for group in others if self._holds(group)]
        self._main = slice(self._span.index(rows[0]), self._span.index(rows[-1]) + 1)
        self._near = [(group, self._places_in_span(group)) for group in near]
        self._far = [(group, self._view(group.rows(reach), group.columns)) for group in others if group not in near]
        self._rows = self._view(self._span, slice(0, values.shape[1]))
        self._unseen = self._unseen_places(windows)

    def _split(self, windows: Sequence["FeatureWindow"]) -> list[_Group]:
        groups, start = [], 0
        for stop in range(1, len(windows) + 1):
            if stop == len(windows) or windows[stop] != windows[start]:
                places = slice(self._lookback - windows[start].lookback, self._lookback)
                groups.append(_Group(windows[start], slice(start, stop), places))
                start = stop
        return groups

    def _widen(self, span: range, groups: Sequence[_Group]) -> range:
        """The rows with those of further groups, of each that has at least as many samples as it takes more lines of memory."""
        lines = -(-self._values.shape[1] // LINE)
        for group in sorted(groups, key=lambda group: group.window.reach):
            rows = group.rows(self._reach)
            wider = range(min(span.start, rows[0]), max(span.stop, rows[-1] + 1))
            if (len(wider) - len(span)) * lines <= group.window.lookback:
                span = wider
        return span

    def _holds(self, group: _Group) -> bool:
        rows = group.rows(self._reach)
        return self._span.step == 1 and rows[0] in self._span and rows[-1] in self._span

    def _places_in_span(self, group: _Group) -> slice:
        rows = group.rows(self._reach)
        return slice(rows[0] - self._span.start, rows[-1] - self._span.start + 1, rows.step)

    def _view(self, rows: range, columns: slice) -> Tensor:
        """[starts, ...]: some columns of the rows after each row of the panel; nothing is copied."""
        size, width = self._values.shape
        starts, count = max(size - self._reach, 0), columns.stop - columns.start
        offset = rows[0] * width + columns.start
        if rows.step * width == count:  # as one long row they are gathered several times as fast
            return self._values.as_strided((starts, len(rows) * width), (width, 1), offset)
        return self._values.as_strided((starts, len(rows), count), (width, rows.step * width, 1), offset)

    def _unseen_places(self, windows: Sequence["FeatureWindow"]) -> Tensor | None:
        """[places of the whole rows, W]: NaN where a shorter feature sees nothing, else -0.0, which leaves what it is added to.

        None where there is nothing to add and nothing to copy.
        """
        if not self._near and not self._older and min(window.lookback for window in windows) == self._lookback:
            return None
        places = self._values.new_full((self._lookback, self._values.shape[1]), -0.0)
        for column, window in enumerate(windows):
            places[: self._lookback - window.lookback, column] = torch.nan
        return places[self._older :]

    def __call__(self, first_B: Tensor) -> Tensor:
        """[B, L, F] of the windows whose first row (the first that any feature reads) is given."""
        width = self._values.shape[1]
        rows_BRW = self._rows.index_select(0, first_B).view(len(first_B), len(self._span), width)
        past_BLW = self._placed(rows_BRW)
        if self._near:  # numpy copies strided elements a third faster than torch
            on_cpu = past_BLW.device.type == "cpu"
            past, rows = (past_BLW.numpy(), rows_BRW.numpy()) if on_cpu else (past_BLW, rows_BRW)
            self._copy(past, rows)
        for group, view in self._far:
            past_BLW[:, group.places, group.columns] = view.index_select(0, first_B).view(
                len(first_B), group.window.lookback, group.columns.stop - group.columns.start
            )
        return past_BLW if width == self._channels else past_BLW[..., : self._channels]

    def _placed(self, rows_BRW: Tensor) -> Tensor:
        """The whole rows at their places in a batch; in place where nothing is to be copied from them."""
        if self._unseen is None:
            return rows_BRW
        if not self._near and not self._older:
            return rows_BRW.add_(self._unseen)
        past_BLW = rows_BRW.new_empty(len(rows_BRW), self._lookback, rows_BRW.shape[2])
        past_BLW[:, : self._older] = torch.nan
        torch.add(rows_BRW[:, self._main], self._unseen, out=past_BLW[:, self._older :])
        return past_BLW

    def _copy(self, past: Any, rows: Any) -> None:
        for group, places in self._near:
            past[:, group.places, group.columns] = rows[:, places, group.columns]
