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
        found = recorded(flow, str(plan.path), list(plan.settings), limits, plan)
    _show(plan, found)


def _show(plan: Plan, tuned: "Tuned") -> None:
    """Prints the best trials as a table, how many ended how, what was written, and what to do next."""
    found, console = tuned.found, Console(highlight=False, soft_wrap=True)
    every = ranked([one for some in found.trials.values() for one in some])
    table = Table(title=f"The best trials by {found.error} on validation", title_justify="left", box=None, pad_edge=False)
    for column, side in (("trial", "left"), (found.search.measure, "right"), ("seconds", "right"), ("values", "left")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for one in every[:SHOWN]:
        table.add_row(one.label, f"{one.score:.4g}", f"{one.seconds:.1f}", one.words)
    Console().print(table)
    console.print(f"{found.counted()}; {tuned.minutes:.1f} minutes in all", markup=False)
    for name in found.spaces:
        if name in tuned.files:
            console.print(f"Wrote {_short(tuned.files[name])}: {found.words(ranked(found.trials[name])[0])}", markup=False)
        else:
            why = f"no trial is better than {name} as it is" if ranked(found.trials[name]) else "no trial has finished"
            console.print(f"{name}: {why}; nothing was written", markup=False)
    if found.search.folds == 1 and tuned.files:
        console.print(
            "Note: one validation range chose among all of these; --folds 3 chooses by three (docs/tuning.md)", markup=False
        )
    console.print(f"Look: python -m flows ui   (run {tuned.parent}: history, importance, parallel coordinates)", markup=False)
    if tuned.files:
        console.print(f"Next: {_comparison(plan)} --tuned {len(tuned.files)}", markup=False)


def _comparison(plan: Plan) -> str:
    """The command that compares the run of a search: with its settings, except those of the search itself."""
    own = ("variants=", "split.folds=")
    settings = [part for text in plan.settings if not text.startswith(own) for part in ("--set", text)]
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
            return with_trials(plan, home, kept.identity, [Pick(one.variant, one.number) for one in better[:count]])
    raise UserError(f"--tuned: no search of {plan.run.name} has found anything yet: {command}")


def found_better(spaces: Mapping[str, Space], trials: Mapping[str, Sequence[Trial]]) -> list[Trial]:
    """The finished trials that change their variant, best first; of equal values, the first."""
    changed = [one for name, some in trials.items() for one in some if spaces[name].changed(one.values)]
    different = {(one.variant, str(one.values)): one for one in reversed(ranked(changed))}  # no repeats
    return ranked(list(different.values()))


def with_trials(plan: Plan, home: Path, identity: str, picks: Sequence[Pick]) -> Plan:
    """The plan with some trials of a search as variants, which are written to files."""
    if not picks:
        return plan
    store = Store(home)
    kept = next(one for one in store.searches(plan.run.name) if one.identity == identity)
    own = plan.only(list(dict.fromkeys(one.variant for one in picks)))
    spaces = searched(own)
    written: Counter[str] = Counter()
    added = []
    for variant, number in picks:
        trial, path = store.trials(kept, variant)[number], file_of(variant, written[variant])
        written[variant] += 1
        words = f"Trial {number} for {kept.run}, seed {kept.seed}: {kept.measure} {trial.score:.6g} on validation"
        best_as_file(own, spaces[variant], trial, path, words)
        added.append(path.stem)
    names = list(dict.fromkeys([*plan.run.variants, *added]))
    return load_plan(plan.path, [*plan.settings, variants_setting(names)])
