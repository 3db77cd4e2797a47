"""`tune` against a random search of the same ranges in equal time, by the best validation error; never a test.

    python -m benchmarks.tuning                   the shipped departures alone
    python -m benchmarks.tuning --data FOLDER     M1 Monthly and ETTh1 too, thinned to 8,000 rows, as `init` writes them
    python -m benchmarks.tuning --variant tcn --seeds 3

*Random*: so many trials (20) drawn evenly from what the variant's file searches, by Optuna's RandomSampler, each trained to its
end (8 epochs) by the same fits, one validation range.  *Tune*: `python -m flows tune`, asked to end when the random search has;
of its trials only those count that ended within that time.  Both run side by side, each on its own half of the cores, so that
whatever else the machine does slows both.  Each has a state folder of its own under --work, so that neither finds the fits of
the other; both are kept there, and a finished pair is not run again.  The gain is that of the best trial; over seeds a mean.
Last line: JSON.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import optuna
from optuna.samplers import RandomSampler

from benchmarks._panels import file_of, read, thinned
from flows.runtime.state import prepare
from params.load import load_plan, load_run
from params.search import Value
from tasks.files import ROOT, placed
from tasks.tune import draw
from tasks.tune.halving import Halving
from tasks.tune.space import Space
from tasks.tune.store import Store

SHIPPED = "nyc_departures"
PANELS = (SHIPPED, "m1_monthly", "etth1")
ROWS = 8_000  # of a panel but the shipped one, at most: twenty trials then take minutes
TRIALS = 20
BRIEF = "training.max_epochs=8"  # of either search, as the shipped run has it: else a panel takes hours
OWN = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL")  # the state of a benchmark is its own


@dataclass(frozen=True)
class Row:
    """Of one panel and seed: the best error of either, how many trials each ended, and the minutes that both had."""

    panel: str
    seed: int
    random: float
    tune: float
    random_trials: int
    tune_trials: int
    minutes: float

    @property
    def gain(self) -> float:
        """By how much the error of tune is below that of random, as a share of it."""
        return 1 - self.tune / self.random


def main() -> None:
    """Runs what is not finished, and prints the table."""
    given = _arguments()
    if given.random is not None:
        _random(given.random, given.variant, given.trials, given.seed)
        return
    work = (given.work or prepare() / "tuning").absolute()
    rows = []
    for panel in PANELS:
        params = _params(panel, given.data, work)
        if params is None:
            print(f"{panel}: left out, as there is no file; --data FOLDER says where it is", file=sys.stderr)
            continue
        for seed in range(given.seeds):
            rows.append(_row(panel, params, given, work / panel, seed))
            print(_line(rows[-1]), flush=True)
    print(f"\nmean gain over {len(rows)} searches of {given.variant}: {statistics.fmean(row.gain for row in rows):+.2%}")
    print(json.dumps([asdict(row) for row in rows]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the files of the public panels are")
    parser.add_argument("--variant", default="gru", help="one that has a `search:`; gru by default")
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"of the random search; {TRIALS} by default")
    parser.add_argument("--seeds", type=int, default=1, help="searches of each panel; 1 by default")
    parser.add_argument("--work", type=Path, help="where all state is kept; by default LAGLINE_HOME/tuning")
    parser.add_argument("--random", type=Path, metavar="PARAMS", help=argparse.SUPPRESS)  # one arm, in a process of its own
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _params(panel: str, data: Path | None, work: Path) -> Path | None:
    """The run file of a panel: the shipped one, or what `init` writes for its table; None where the table is not there."""
    if panel == SHIPPED:
        return ROOT / "params" / f"{SHIPPED}.yaml"
    file = file_of(panel, data)
    if file is None:
        return None
    folder = work / panel
    params, table = folder / f"{panel}.yaml", folder / f"{panel}.parquet"
    if not params.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with placed(table) as partial:
            thinned(read(panel, file), ROWS).write_parquet(partial)
        _run(folder / "home", "-m", "flows", "init", str(table), "--out", str(params), cores=set())
    return params


def _row(panel: str, params: Path, given: argparse.Namespace, folder: Path, seed: int) -> Row:
    name, homes = load_run(params).name, {arm: folder / f"{given.variant}-{arm}-{seed}" for arm in ("random", "tune")}
    finished = homes["tune"] / "done"
    if not finished.exists():
        _side_by_side(params, given, homes, seed)
        finished.touch()
    drawn = _ended(homes["random"], name, given.variant)
    seconds = max(drawn)
    tuned = {at: score for at, score in _ended(homes["tune"], name, given.variant).items() if at <= seconds}
    best, ours = (min(score for score in some.values() if score is not None) for some in (drawn, tuned))
    return Row(panel, seed, best, ours, len(drawn), len(tuned), seconds / 60)


def _side_by_side(params: Path, given: argparse.Namespace, homes: Mapping[str, Path], seed: int) -> None:
    """Runs both searches at once from the start, each on half of the cores, until the random one has ended."""
    for home in homes.values():
        shutil.rmtree(home, ignore_errors=True)
    out = homes["tune"] / f"{given.variant}_tuned.yaml"
    common = ("--variant", given.variant, "--trials", str(given.trials), "--seed", str(seed))
    searched = ("--variants", given.variant, "--set", BRIEF, "--minutes", str(10**6), "--seed", str(seed), "--out", str(out))
    random_cores, tune_cores = _halves()
    with _started(homes["tune"], "-m", "flows", "tune", str(params), *searched, cores=tune_cores) as tune:
        try:
            _run(homes["random"], "-m", "benchmarks.tuning", "--random", str(params), *common, cores=random_cores)
        finally:
            tune.terminate()
    if tune.returncode != 128 + signal.SIGTERM:
        sys.exit(f"tune ended with {tune.returncode} before the random search did: {homes['tune'] / 'log'}")


def _halves() -> tuple[set[int], set[int]]:
    """Two sets of cores of the same size; the same core twice where there is but one, none where they cannot be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        return set(), set()
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    return set(cores[:half]), set(cores[-half:])


def _ended(home: Path, run: str, variant: str) -> Mapping[float, float | None]:
    """Seconds from the begin of a search -> the error of the trial that ended then, None where it was pruned or failed."""
    search = Store(home).searches(run)[0]
    kept = optuna.load_study(study_name=f"{search.identity}/{variant}", storage=f"sqlite:///{home / 'tune.db'}").trials
    began = min(trial.datetime_start for trial in kept if trial.datetime_start)
    return {(trial.datetime_complete - began).total_seconds(): trial.value for trial in kept if trial.datetime_complete}


def _random(params: Path, variant: str, trials: int, seed: int) -> None:
    """Runs one random search where LAGLINE_HOME is: the flow of `tune` with other draws, and nothing pruned."""
    from flows.verbs import tune

    def drawn(space: Space, before: Sequence[object], seed: int, number: int, ahead: int) -> dict[str, Value]:
        sampler = RandomSampler(seed=1000 * seed + number)
        asked = optuna.create_study(sampler=sampler).ask(
            {key: draw.distribution(dimension) for key, dimension in space.dimensions.items()}
        )
        return {key: dimension.rounded(asked.params[key]) for key, dimension in space.dimensions.items()}

    def never(max_epochs: int, column: str, others: Sequence[Mapping[int, float]]) -> Halving:
        return Halving(column, {})

    plan = load_plan(params, [f"variants=[{variant}]", BRIEF])
    with patch("flows.tune.draw", drawn), patch("flows.tune.Halving.of", never):
        home = prepare()
        tune.search(home, plan, True, None, trials, seed, home / f"{variant}_tuned.yaml")


@contextmanager
def _started(home: Path, *arguments: str, cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command with a state folder of its own on these cores; what it prints is in `log` there."""
    home.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in OWN} | {"LAGLINE_HOME": str(home)}
    pinned = partial(os.sched_setaffinity, 0, cores) if cores else None
    with (home / "log").open("w") as log:
        command = [sys.executable, *arguments]
        nothing = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=nothing, stdout=log, stderr=log, preexec_fn=pinned
        ) as process:
            yield process


def _run(home: Path, *arguments: str, cores: set[int]) -> None:
    """Runs such a command to its end.  Ends the program where it fails."""
    with _started(home, *arguments, cores=cores) as process:
        pass
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}: {home / 'log'}")


def _line(row: Row) -> str:
    counts = f"{row.random_trials} and {row.tune_trials} trials in {row.minutes:.1f} minutes"
    return f"{row.panel:16}seed {row.seed}  random {row.random:.4g}  tune {row.tune:.4g}  {row.gain:+.2%}  ({counts})"


if __name__ == "__main__":
    main()
