"""The verb prune: removes what nothing refers to."""

from collections import Counter
from pathlib import Path

from rich.console import Console

from tasks.prune import prune
from tasks.tracking import connection


def show_prune(home: Path, keep: int, dry_run: bool) -> None:
    """Removes what nothing refers to; prints one line per folder of files or experiment of runs."""
    with connection.answered("what was removed is gone, and the same command removes the rest once it is back"):
        connection.connect(home)
        plan = prune(home, keep, dry_run)
    console = Console(highlight=False, soft_wrap=True)
    lines: dict[Path, list[int]] = {}
    for path, size in plan.paths:
        lines.setdefault(path.parent if path.parent.parent == home / "served" else path, []).append(size)
    for path, sizes in lines.items():
        count = f": {len(sizes)} served forecasts" if path.parent == home / "served" else ""
        console.print(f"  {sum(sizes) / 1e6:10,.1f} MB  {path}{count}", markup=False)
    for name, number in Counter(name for name, _ in plan.runs).items():
        console.print(f"  {number:10,} MLflow runs of {name}", markup=False)
    verb = "would be removed" if dry_run else "removed"
    summary = f"{len(plan.paths)} folders and files ({plan.size / 1e6:,.1f} MB) and {len(plan.runs)} MLflow runs {verb}."
    console.print(summary, markup=False)
