"""What `init` writes, unchanged, on public panels: whether a network stands in front on validation; never a test.

    python -m benchmarks.defaults --data FOLDER           nine panels, three seeds, two validation ranges: hours
    python -m benchmarks.defaults --data FOLDER --test    the test errors beside them: once, at the end
    python -m benchmarks.defaults --generated             the same of generated tables of three kinds (--seed 21)
    python -m benchmarks.defaults                         the shipped panel alone, one seed and one range: minutes

The procedure.  Each panel (`benchmarks/_panels.py` names its file in FOLDER and thins it by a written rule) is looked at by
`python -m flows init`; the file that it writes is compared as it is, `python -m flows compare FILE --set training.seeds=3
--set split.folds=2`, as a user would.  A table too short for two ranges has one, which the output says.  Bike and beijing were
left out of all tuning of defaults, named so before the first run, and are counted apart.

All errors are those by which a run chooses: `val_score`, in the measure of its `evaluation.choose_by`, the mean over seeds and
validation ranges.  Theta and AutoETS forecast some origins only: as in the leaderboard, all are compared on the rows that the
best baseline forecasts.  *Network*: the best single recurrent or convolutional variant.  *In front*: its error is below that of
ridge and of the best baseline; *gain*: by how much below the better of these two.  *Best*: of all rows, ensembles, dense and
linear ones too.  Generated tables have a horizon more than `init` and `compare` see: `forecast` gives it by what was
registered, and its MASE stands beside that of the seasonal naive.

State lies under --work: a panel that is finished is read and not computed again, until its table, its run file, the settings
or the code change; fits that were finished before are found by `compare`.  Minutes are those of all commands of a panel, over
all calls that it took; core minutes are those of a processor that they used, however busy the machine was; a `+` says that fits
from before a change were found and are not in them.  Last line: JSON, also in WORK/rows.json.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks._judged import Ahead, Row, ahead_of, facts_of, judged, report
from benchmarks._panels import KINDS, NYC, PANELS, SHIPPED, SOURCES, file_of, generated, read
from flows.runtime.state import prepare
from params.load import load_run
from tasks.files import ROOT, placed

SEEDS, FOLDS, SEED = 3, 2, 21
CODE = ("flows", "models", "params", "tasks")
OWN = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL")  # the state of a benchmark is its own
TOO_SHORT = "validation range"  # in every message that refuses more than one of them


class Failed(RuntimeError):
    """A command of a panel ended badly; its words are the last line of what it printed."""


@dataclass(frozen=True)
class Table:
    """A table as it is compared: where it lies, its size, and the rows after it (None: none are known)."""

    name: str
    file: Path
    series: int
    rows: int
    ahead: pl.DataFrame | None = None


@dataclass(frozen=True)
class Asked:
    """How each panel is compared; `settings`: more of them, as for compare."""

    work: Path
    seeds: int
    folds: int
    settings: Sequence[str] = ()


def main() -> int:
    """Runs what is not finished, prints the tables; 1 where a panel failed."""
    given = _arguments()
    work = given.work or prepare() / "defaults"
    quick = given.data is None and not given.generated
    asked = Asked(work, given.seeds or (1 if quick else SEEDS), given.folds or (1 if quick else FOLDS), given.settings)
    missing: list[str] = []
    failed: list[str] = []
    rows: list[Row] = []
    for table in _tables(given, work, missing):
        try:
            rows.append(row_of(table, asked))
        except Failed as error:
            failed.append(f"{table.name} failed: {error}")
            _say(failed[-1])
            continue
        _say(f"{table.name}: {table.series} series, {table.rows:,} rows, {rows[-1].minutes:.1f} minutes")
    more = "".join(f", --set {setting}" for setting in asked.settings)
    print(f"Seeds: {asked.seeds}, validation ranges: {asked.folds}{more}.")
    print("\n".join([*report(rows, asked.folds, given.test), *failed, *_missing(missing)]))
    content = [facts_of(row, given.test) for row in rows]
    work.mkdir(parents=True, exist_ok=True)
    with placed(work / "rows.json") as partial:
        partial.write_text(json.dumps(content, indent=1))
    print(json.dumps(content))
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the files of the public panels are")
    parser.add_argument("--generated", action="store_true", help="generated tables of three kinds")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the generated tables; {SEED} by default")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAMES", help="of panels and kinds: etth1,retail")
    parser.add_argument("--work", type=Path, help="where all state is kept; by default LAGLINE_HOME/defaults")
    parser.add_argument("--seeds", type=int, help=f"fits of each variant; {SEEDS} by default")
    parser.add_argument("--folds", type=int, help=f"validation ranges; {FOLDS} by default")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="as for compare")
    parser.add_argument("--test", action="store_true", help="show test errors too, which nothing may be chosen by")
    given = parser.parse_args()
    given.work = given.work.absolute() if given.work else None
    unknown = set(given.only or ()) - {*PANELS, *KINDS}
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: there are {', '.join((*PANELS, *KINDS))}")
    if given.data and not given.data.is_dir():
        parser.error(f"--data {given.data}: there is no such folder")
    return given


def _tables(given: argparse.Namespace, work: Path, missing: list[str]) -> Iterator[Table]:
    """The tables that are asked for and there, each written when its turn comes; names of the others go to `missing`."""
    public = PANELS if given.data or not given.generated else ()
    for name in public if given.only is None else [name for name in public if name in given.only]:
        file = file_of(name, given.data)
        if file is None:
            missing.append(name)
            continue
        frame = read(name, file)
        series = frame["origin" if name == NYC else "unique_id"].n_unique()
        yield Table(name, SHIPPED if name == NYC else _written(frame, work, name), series, frame.height)
    kinds = KINDS if given.generated else ()
    for name in kinds if given.only is None else [name for name in kinds if name in given.only]:
        frame, ahead = generated(name, given.seed)
        yield Table(name, _written(frame, work, name), frame["unique_id"].n_unique(), frame.height, ahead)


def _written(frame: pl.DataFrame, work: Path, name: str) -> Path:
    """The file of a table in its folder, written where it is another one or not there."""
    file = work / name / f"{name}.parquet"
    if not (file.is_file() and pl.read_parquet(file).equals(frame)):
        file.parent.mkdir(parents=True, exist_ok=True)
        with placed(file) as partial:
            frame.write_parquet(partial)
    return file


def row_of(table: Table, asked: Asked) -> Row:
    """The row of a table: read where it is finished, else computed.  Raises Failed where a command ends badly."""
    began, used = time.monotonic(), _core_seconds()
    folder = asked.work / table.name
    folder.mkdir(parents=True, exist_ok=True)
    run_file, kept = folder / f"{table.name}.yaml", folder / "found.json"
    _command(asked, folder, "init", str(table.file), "--out", str(run_file), "--force")
    state = _state(table, run_file, asked)
    before: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    record: dict[str, Any] = before if before.get("state") == state else {"state": state, "seconds": 0.0, "core_seconds": 0.0}
    if "leaderboard" not in record:
        first = not record["seconds"]
        try:
            record |= _compared(table, run_file, asked)
            record["partly"] = first and any("trained before" in raw["note"] for raw in record["leaderboard"]["rows"])
            if before.get("leaderboard", {}).get("run") == record["leaderboard"]["run"]:  # nothing that counts has changed
                record |= {key: before[key] for key in ("seconds", "core_seconds", "partly")}
        finally:  # also where it is interrupted: the next call goes on
            record["seconds"] += time.monotonic() - began
            record["core_seconds"] += _core_seconds() - used
            with placed(kept) as partial:
                partial.write_text(json.dumps(record))
    row = judged(table.name, record["leaderboard"], record["ranges"])
    ahead = Ahead(**record["ahead"]) if record["ahead"] else None
    row = replace(row, series=table.series, rows=table.rows, ahead=ahead, partly=record["partly"])
    return replace(row, minutes=record["seconds"] / 60, core_minutes=record["core_seconds"] / 60)


def _core_seconds() -> float:
    """Of a processor, that the commands so far and what they started have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _compared(table: Table, run_file: Path, asked: Asked) -> dict[str, Any]:
    """What the comparison of a run file found: its leaderboard, over how many validation ranges, and the rows after it."""
    folder, ranges = run_file.parent, asked.folds
    try:
        _compare(run_file, asked, ranges)
    except Failed as error:
        if ranges == 1 or TOO_SHORT not in str(error):
            raise
        ranges = 1
        _compare(run_file, asked, ranges)
    name = load_run(run_file).name
    board = json.loads(_command(asked, folder, "leaderboard", name, "--json"))
    ahead = None if table.ahead is None else asdict(_scored_ahead(table, name, asked))
    return {"leaderboard": board, "ranges": ranges, "ahead": ahead}


def _compare(run_file: Path, asked: Asked, ranges: int) -> None:
    settings = [f"training.seeds={asked.seeds}", f"split.folds={ranges}", *asked.settings]
    _command(asked, run_file.parent, "compare", str(run_file), *(part for setting in settings for part in ("--set", setting)))


def _scored_ahead(table: Table, name: str, asked: Asked) -> Ahead:
    """The scores of what was registered on the rows after a table."""
    assert table.ahead is not None
    folder, kind = asked.work / table.name, KINDS[table.name]
    out, history = folder / "ahead.parquet", pl.read_parquet(table.file)
    _command(asked, folder, "forecast", f"{name}@challenger", "--data", str(table.file), "--out", str(out))
    return ahead_of(history, table.ahead, pl.read_parquet(out), kind.season)


def _command(asked: Asked, folder: Path, *arguments: str) -> str:
    """What `python -m flows ARGUMENTS` prints; all of it is also in `<verb>.log` of the folder.  Raises Failed."""
    environment = {key: value for key, value in os.environ.items() if key not in OWN}
    environment |= {"LAGLINE_HOME": str(asked.work / "home"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "flows", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    (folder / f"{arguments[0]}.log").write_text(f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        last = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-3:])
        raise Failed(f"{arguments[0]} ended with {done.returncode}: {last}")
    return done.stdout


def _state(table: Table, run_file: Path, asked: Asked) -> str:
    """A digest of all that the row of a table follows from: its rows, its run file, the settings, our code and params."""
    parts = [table.file.read_bytes(), run_file.read_bytes(), repr((asked.seeds, asked.folds, *asked.settings)).encode()]
    files = sorted(file for name in CODE for file in (ROOT / name).rglob("*") if file.suffix in (".py", ".yaml"))
    parts += [str(file.relative_to(ROOT)).encode() + file.read_bytes() for file in files]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _missing(names: Sequence[str]) -> list[str]:
    """What is said of panels whose files are not there."""
    if not names:
        return []
    files = ", ".join(f"{name} ({SOURCES[name].file})" for name in names)
    return [f"Left out, as there is no file: {files}. --data FOLDER says where they are, docs/benchmarks.md where from."]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
