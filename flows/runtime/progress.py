"""What a person sees while a run goes on: stages with their seconds, and every fit with its epoch and time left; no results.

On a terminal a live table; elsewhere (a schedule, a log file) a plain line an event, and a long fit is heard of once a minute.
Everything goes to standard error.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from tasks.train.fits import Fit

QUIET = 60.0  # seconds between two lines of a fit in a log file


class Board:
    """Stages and fits of one run.  Safe to call from several threads."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fits: dict[str, dict[str, Any]] = {}
        self._naive: float | None = None
        self._live: Live | None = None
        self._bars = Progress(
            TextColumn("  {task.description:<22}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=self.console,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage and says when it is done."""
        started = time.perf_counter()
        if not self.console.is_terminal:
            self.console.print(f"{name} ...")
        status = self.console.status(f"{name} ...") if self.console.is_terminal and self._live is None else None
        if status:
            status.start()
        try:
            yield
        finally:
            if status:
                status.stop()
        self.seconds[name] = time.perf_counter() - started
        self.console.print(f"{name}: done in {self.seconds[name]:.1f} s")

    def say(self, text: str) -> None:
        """One line between the stages."""
        self.console.print(text, markup=False, soft_wrap=True)

    def fits(self, epochs: Mapping[str, int], naive: float | None = None) -> None:
        """Announces the fits to come: label -> the most epochs it may take; `naive`: the error that skill is measured by."""
        self._naive = naive
        for fit in self._fits.values():  # of an earlier round
            self._bars.remove_task(fit["bar"])
        self._fits.clear()
        for label, most in epochs.items():
            bar = self._bars.add_task(label, total=most, note="waiting")
            self._fits[label] = {"bar": bar, "most": most, "told": time.monotonic()}
        if self.console.is_terminal:
            self._live = Live(self._bars, console=self.console, refresh_per_second=4)
            self._live.start()

    def epoch(self, label: str, row: Mapping[str, float]) -> None:
        """A fit has finished an epoch (`epoch` from 0, `train_loss`, `best` val_mae so far, seconds `left`).

        A refit on all rows has no val_mae.
        """
        with self._lock:
            fit = self._fits[label]
            number = int(row["epoch"]) + 1
            best = row.get("best", row.get("val_mae"))
            note = f"epoch {number}/{fit['most']}  loss {row['train_loss']:.3f}"
            note += f"  {self._error(best)}" if best is not None else ""
            note += f"  at most {_time(row['left'])} left" if "left" in row else ""
            self._bars.update(fit["bar"], completed=number, note=note)
            due = self._live is None and time.monotonic() - fit["told"] >= QUIET
            fit["told"] = time.monotonic() if due else fit["told"]
        if due:
            self.say(f"  {label}: {note}")

    def _error(self, best: float) -> str:
        """The best validation error so far, and the share of the best naive's that it saves."""
        skill = f" (skill {100 * (1 - best / self._naive):+.1f} %)" if self._naive else ""
        return f"val_mae {best:.3f}{skill}"

    def fit_done(self, done: "Fit") -> None:
        """A fit has ended, well or not."""
        label, result = done.label, done.result
        if not result.finished:
            note = f"failed: {result.reason}"
        elif result.val_mae is None:
            epochs = f", epochs: {result.best_epoch + 1}" if result.ended_by == "refit" else ""
            note = self._reused("trained on all rows", f"in {result.train_seconds:.1f} s{epochs}", done.reused)
        else:
            took = f"in {result.train_seconds:.1f} s, best epoch {result.best_epoch + 1}, ended by {result.ended_by}"
            note = self._reused(self._error(result.val_mae), took, done.reused)
        with self._lock:
            fit = self._fits[label]
            self._bars.update(fit["bar"], completed=fit["most"], note=note)
        if self._live is None:
            self.say(f"  {label}: {note}")

    @staticmethod
    def _reused(error: str, took: str, reused: bool) -> str:
        return f"{error}, taken as it was trained before" if reused else f"{error} {took}"

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def fits_done(self) -> None:
        """All fits have ended: the table stays as it is."""
        self._stop()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
