"""The verb tune, and `compare --tuned`: the best trials of the last search, as variant files."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from flows.runtime.begin import prefect_api
from params.errors import UserError
from params.load import Plan, load_plan, variants_setting
from params.shown import masked
from tasks.train.check import check_plan
from tasks.tune.clock import Pick
from tasks.tune.files import best_as_file, check_free, file_of
from tasks.tune.space import Space, searched, those_with_search
from tasks.tune.store import Store
from tasks.tune.trial import Trial, ranked

if TYPE_CHECKING:
    from flows.tune import Tuned

MINUTES = 30.0  # of a search given neither minutes nor trials
SHOWN = 10  # best trials in the table at the end


def search(home: Path, plan: Plan, named: bool, minutes: float | None, trials: int | None, seed: int, out: Path | None) -> None:
    """Searches and prints the result.  `named`: whether the variants were named by the user.

    Raises UserError, before reading data, for variants without a search and files that cannot be written.
    """
    plan = plan if named else those_with_search(plan)
    with prefect_api(home) as server:
        from flows.runtime.progress import Board

        with Board() as board, board.stage("start"):
            if out is not None and len(plan.variants) > 1:
                raise UserError(f"--out {out}: one file for {len(plan.variants)} variants: name one with --variants")
            for name in searched(plan):
                check_free(out or file_of(name))
            check_plan(plan)
            from flows.runtime.recorded import recorded
            from flows.tune import Limits
            from flows.tune import tune as flow

            server.wait()
        limits = Limits(trials, MINUTES if minutes is None and trials is None else minutes, seed, out)
        tuned = recorded(flow, str(plan.path), list(plan.settings), limits, plan)
    _show(plan, tuned)


def _show(plan: Plan, tuned: "Tuned") -> None:
    """Prints the best trials as a table, how many ended how, what was written, and what to do next."""
    result, console = tuned.found, Console(highlight=False, soft_wrap=True)
    every = ranked([trial for some in result.trials.values() for trial in some])
    table = Table(title=f"The best trials by {result.error} on validation", title_justify="left", box=None, pad_edge=False)
    for column, side in (("trial", "left"), (result.search.measure, "right"), ("seconds", "right"), ("values", "left")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for trial in every[:SHOWN]:
        table.add_row(trial.label, f"{trial.score:.4g}", f"{trial.seconds:.1f}", trial.words)
    Console().print(table)
    console.print(f"{result.counted()}; {tuned.minutes:.1f} minutes in all", markup=False)
    for name in result.spaces:
        if name in tuned.files:
            console.print(f"Wrote {_short(tuned.files[name])}: {result.words(ranked(result.trials[name])[0])}", markup=False)
        else:
            why = f"no trial is better than {name} as it is" if ranked(result.trials[name]) else "no trial has finished"
            console.print(f"{name}: {why}; nothing was written", markup=False)
    if result.search.folds == 1 and tuned.files:
        console.print(
            "Note: one validation range chose among all of these; --folds 3 chooses by three (docs/tuning.md)", markup=False
        )
    console.print(f"Look: python -m flows ui   (run {tuned.parent}: history, importance, parallel coordinates)", markup=False)
    if tuned.files:
        console.print(f"Next: {_comparison(plan)} --tuned {len(tuned.files)}", markup=False)


def _comparison(plan: Plan) -> str:
    """The command that compares the run of a search: with its settings, except those of the search itself."""
    prefixes = ("variants=", "split.folds=")
    settings = [part for text in plan.settings if not text.startswith(prefixes) for part in ("--set", text)]
    return masked(shlex.join(["python", "-m", "flows", "compare", str(plan.path), *settings]))


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def with_tuned(plan: Plan, home: Path, count: int) -> Plan:
    """The plan with the best trials of the run's last search as variants, which are written to files.

    Raises UserError if there was no search, or it found nothing better than the variants themselves.
    """
    store, command = Store(home), f"python -m flows tune {shlex.quote(str(plan.path))}"
    for kept in store.searches(plan.run.name)[:1]:
        names = store.variants(kept)
        better = found_better(searched(plan.only(names)), {name: store.trials(kept, name) for name in names})
        if better:
            return with_trials(plan, home, kept.identity, [Pick(trial.variant, trial.number) for trial in better[:count]])
    raise UserError(f"--tuned: no search of {plan.run.name} has found anything yet: {command}")


def found_better(spaces: Mapping[str, Space], trials: Mapping[str, Sequence[Trial]]) -> list[Trial]:
    """The finished trials that change their variant, best first; of equal values, the first."""
    changed = [trial for name, some in trials.items() for trial in some if spaces[name].changed(trial.values)]
    different = {(trial.variant, str(trial.values)): trial for trial in reversed(ranked(changed))}  # no repeats
    return ranked(list(different.values()))


def with_trials(plan: Plan, home: Path, identity: str, picks: Sequence[Pick]) -> Plan:
    """The plan with some trials of a search as variants, which are written to files."""
    if not picks:
        return plan
    store = Store(home)
    kept = next(entry for entry in store.searches(plan.run.name) if entry.identity == identity)
    picked_plan = plan.only(list(dict.fromkeys(pick.variant for pick in picks)))
    spaces = searched(picked_plan)
    written: Counter[str] = Counter()
    added = []
    for variant, number in picks:
        trial, path = store.trials(kept, variant)[number], file_of(variant, written[variant])
        written[variant] += 1
        words = f"Trial {number} for {kept.run}, seed {kept.seed}: {kept.measure} {trial.score:.6g} on validation"
        best_as_file(picked_plan, spaces[variant], trial, path, words)
        added.append(path.stem)
    names = list(dict.fromkeys([*plan.run.variants, *added]))
    return load_plan(plan.path, [*plan.settings, variants_setting(names)])
