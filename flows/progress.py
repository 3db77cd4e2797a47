"""What a person sees while a run goes on: stages with their seconds, and every fit with its epoch and time left; no results.

On a terminal a live table; elsewhere (a schedule, a log file) one plain line an event.  Everything goes to standard error.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn


class Board:
    """Stages and fits of one run.  Safe to call from several threads."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fits: dict[str, dict[str, Any]] = {}
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

    def fits(self, epochs: Mapping[str, int]) -> None:
        """Announces the fits to come: label -> the most epochs it may take."""
        for label, most in epochs.items():
            bar = self._bars.add_task(label, total=most, note="waiting")
            self._fits[label] = {"bar": bar, "most": most, "best": None, "first": None}
        if self.console.is_terminal:
            self._live = Live(self._bars, console=self.console, refresh_per_second=4)
            self._live.start()

    def epoch(self, label: str, row: Mapping[str, float]) -> None:
        """A fit has finished an epoch (`epoch` from 0, `val_mae`, `seconds` since it began)."""
        with self._lock:
            fit = self._fits[label]
            number, seconds = int(row["epoch"]) + 1, row["seconds"]
            fit["best"] = row["val_mae"] if fit["best"] is None else min(row["val_mae"], fit["best"])
            left = seconds / number * max(fit["most"] - number, 0)
            error = f"val_mae {row['val_mae']:.3f} (best {fit['best']:.3f})"
            note = f"epoch {number}/{fit['most']}  {error}  at most {left:.0f} s left"
            self._bars.update(fit["bar"], completed=number, note=note)
        if self._live is None:
            self.say(f"  {label}: {note}")

    def fit_done(self, result: Mapping[str, Any]) -> None:
        """A fit has ended, well or not."""
        label = result["label"]
        if result["status"] != "finished":
            note = f"failed: {result['reason']}"
        elif result.get("reused"):
            note = f"val_mae {result['val_mae']:.3f}, taken as it was trained before"
        else:
            note = f"val_mae {result['val_mae']:.3f} in {result['train_seconds']:.1f} s (best epoch {result['best_epoch'] + 1})"
        with self._lock:
            fit = self._fits[label]
            self._bars.update(fit["bar"], completed=fit["most"], note=note)
        if self._live is None:
            self.say(f"  {label}: {note}")

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def fits_done(self) -> None:
        """All fits have ended: the table stays as it is."""
        self._stop()
