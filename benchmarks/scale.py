"""What a comparison, a check and a forecast take as the number of series grows: processor time, memory, files; never a test.

    python -m benchmarks.scale                       2,000 and 20,000 series of 200 daily rows
    python -m benchmarks.scale --full                also 100,000 (4 GB of disk; long)
    python -m benchmarks.scale --sizes 500,1000 --only forecast

The verbs run as anyone runs them, each as a process on its own, on one thread, in a state folder of the benchmark: `validate`,
`compare` (ridge and a GRU of one epoch, 3 origins in validation and in test, three naive baselines) and `forecast` by the
version that was registered.  Looked at every 20 ms, of the main process and not of the fits, which have processes of their
own: its memory (RssAnon: neither files that are mapped nor code) and its processor seconds, stage by stage as the command says
them.  A table of 50 series comes first: what it takes is imports and other fixed cost, and is taken off before anything is
divided by rows, or an exponent n^x between two sizes is told.  *Plain*: one pass of polars over the table in the same run, the
sum of y by series.  Linux alone, for its /proc.  Last line: JSON.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
FIXED, SIZES, FULL, ROWS, LOOK = 50, (2_000, 20_000), 100_000, 200, 0.02
TICKS, KIB = os.sysconf("SC_CLK_TCK"), 1024
VERBS = ("validate", "compare", "forecast")
START = "start and end"  # what is no stage of a command
NAME = "scale"
RUN = """
name: scale
data: {{path: {table}, id: unique_id, time: ds, target: y, frequency: 1d}}
windows:
  horizon: 14
  stride: 7
  features: {{y: {{lookback: 28}}, price: {{lookback: 14}}, stock: {{lookback: 14}}}}
  calendar: [weekday]
split: {{validation: 42d, test: 42d}}
variants: [ridge, gru]
training: {{max_epochs: 1}}
evaluation: {{stride: 14, baselines: [last_value, drift, seasonal_naive], season: 7}}
"""


@dataclass
class Spent:
    """What one command took: processor seconds in all and by stage, peak RssAnon in bytes in all and by stage, exit status."""

    cpu: float = 0.0
    peak: int = 0
    cpu_of: dict[str, float] = field(default_factory=dict)
    peak_of: dict[str, int] = field(default_factory=dict)
    status: int = 0
    said: str = ""


@dataclass(frozen=True)
class Size:
    """One table: its rows, what each verb took, bytes of the files, processor seconds of the plain pass."""

    series: int
    rows: int
    verbs: dict[str, Spent]
    files: dict[str, int]
    plain: float


def make_table(path: Path, series: int, seed: int = 0) -> int:
    """Writes series of 200 days with two features, weekly seasons and levels of their own; gives the rows."""
    rng = np.random.default_rng(seed)
    days = pl.date_range(date(2024, 1, 1), date(2024, 1, 1) + timedelta(ROWS - 1), eager=True).cast(pl.Datetime("us"))
    level = rng.uniform(20, 2_000, series)[:, None]
    week = 1 + 0.3 * np.sin(2 * np.pi * (np.arange(ROWS) % 7 + rng.integers(0, 7, series)[:, None]) / 7)
    price, stock = rng.uniform(1, 20, (2, series, ROWS))
    y = level * week * np.exp(0.1 * rng.standard_normal((series, ROWS))) - price * level / 100
    frame = pl.DataFrame(
        {
            "unique_id": np.repeat([f"shop-{number:05}" for number in range(series)], ROWS),
            "ds": pl.concat([days] * series),
            **{name: values.ravel().round(3) for name, values in (("y", y), ("price", price), ("stock", stock))},
        }
    )
    frame.write_parquet(path)
    return frame.height


def watched(arguments: Sequence[str], home: Path, program: Sequence[str] = ("-m", "flows")) -> Spent:
    """Runs `python -m flows ARGUMENTS` to its end, looking at its main process all the while.  `program`: another one."""
    single_thread = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "LAGLINE_JOBS"), "1")
    environment = {**os.environ, **single_thread, "LAGLINE_HOME": str(home), "COLUMNS": "200"}
    command = [sys.executable, *program, *arguments]
    spent, output, under_way, before = Spent(), list[str](), [START], 0.0
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        reader = threading.Thread(target=_read, args=(process, output, under_way))
        reader.start()
        while process.poll() is None:
            seen = _look(process.pid)
            if seen is not None:
                (cpu, memory), stage = seen, under_way[-1]
                spent.cpu_of[stage] = spent.cpu_of.get(stage, 0.0) + cpu - before
                spent.peak_of[stage] = max(spent.peak_of.get(stage, 0), memory)
                before = cpu
            time.sleep(LOOK)
        reader.join()
    spent.cpu, spent.peak, spent.status = before, max(spent.peak_of.values(), default=0), process.returncode
    spent.said = "".join(output)
    return spent


def _read(process: "subprocess.Popen[str]", output: list[str], under_way: list[str]) -> None:
    """Keeps what a command says, and which of its stages are under way."""
    assert process.stderr is not None
    for line in process.stderr:
        output.append(line)
        name, text = line.rstrip("\n"), line.strip()
        if name.endswith(" ...") and text == name:
            under_way.append(text.removesuffix(" ..."))
        elif (done := text.partition(": done in ")[0]) in under_way[1:]:
            under_way.remove(done)


def _look(pid: int) -> tuple[float, int] | None:
    """Processor seconds and RssAnon in bytes of a process; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        memory = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS, int(memory.split()[1]) * KIB


def measured(series: int, folder: Path, verbs: Sequence[str]) -> Size:
    """Every verb on one table, one after another.  Raises RuntimeError where one ends otherwise than it should."""
    folder.mkdir()
    table, home, run = folder / "table.parquet", folder / "home", folder / "run.yaml"
    rows = make_table(table, series)
    run.write_text(RUN.format(table=table))
    began = time.process_time()
    pl.scan_parquet(table).group_by("unique_id").agg(pl.col("y").sum()).collect(engine="streaming")
    plain = time.process_time() - began
    given = {
        "validate": ["validate", str(run)],
        "compare": ["compare", str(run)],
        "forecast": ["forecast", f"{NAME}@challenger", "--data", str(table), "--out", str(folder / "made.parquet")],
    }
    by_verb = {}
    for verb in verbs:
        by_verb[verb] = watched(given[verb], home)
        if by_verb[verb].status:
            raise RuntimeError(f"{verb} of {series:,} series ended with {by_verb[verb].status}:\n{by_verb[verb].said}")
    files = {"table": table.stat().st_size, "panel": _bytes(home / "panels")}
    files |= {"forecasts.parquet": max((file.stat().st_size for file in home.rglob("forecasts.parquet")), default=0)}
    return Size(series, rows, by_verb, files, plain)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def exponent(at_smaller: float, at_larger: float, sizes: tuple[int, int]) -> float | None:
    """By which power of the series something grows between two sizes; None where it is too small to say."""
    return math.log(at_larger / at_smaller) / math.log(sizes[1] / sizes[0]) if at_smaller > 0 and at_larger > 0 else None


def lines(fixed: Size, sizes: Sequence[Size]) -> Iterator[str]:
    """The table of each size, then the growth of each verb; what the smallest table takes is off."""
    for size in sizes:
        yield f"{size.series:,} series, {size.rows:,} rows; a plain pass over them takes {size.plain:.2f} s"
        yield f"  {'verb':<9} {'stage':<22} {'CPU s':>8} {'x plain':>8} {'peak MB':>8} {'B a row':>8}"
        for verb, spent in size.verbs.items():
            base = fixed.verbs[verb]
            ratio, a_row = (spent.cpu - base.cpu) / size.plain, (spent.peak - base.peak) / size.rows
            yield f"  {verb:<9} {'':<22} {spent.cpu:8.1f} {ratio:8.1f} {spent.peak / 1e6:8.0f} {a_row:8.1f}"
            for stage, seconds in spent.cpu_of.items():
                peak, of_base = spent.peak_of[stage], base.cpu_of.get(stage, 0.0)
                ratio, a_row = (seconds - of_base) / size.plain, (peak - base.peak_of.get(stage, 0)) / size.rows
                yield f"  {'':<9} {stage:<22} {seconds:8.1f} {ratio:8.1f} {peak / 1e6:8.0f} {a_row:8.1f}"
        files = ", ".join(
            f"{name} {count / 1e6:.1f} MB ({count / size.rows:.1f} B a row)" for name, count in size.files.items()
        )
        yield f"  {files}"
    for smaller, larger in pairwise(sizes):
        for verb, base in fixed.verbs.items():
            pair = (smaller.series, larger.series)
            cpu = exponent(smaller.verbs[verb].cpu - base.cpu, larger.verbs[verb].cpu - base.cpu, pair)
            memory = exponent(smaller.verbs[verb].peak - base.peak, larger.verbs[verb].peak - base.peak, pair)
            powers = ", ".join(
                f"{name} n^{power:.2f}" for name, power in (("CPU", cpu), ("memory", memory)) if power is not None
            )
            yield f"  {verb}: from {pair[0]:,} to {pair[1]:,} series {powers or 'too little to say'}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", help="numbers of series, such as 500,1000")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default=",".join(VERBS), help="these verbs; forecast brings compare with it")
    given = parser.parse_args()
    if not Path("/proc/self/status").exists():
        parser.error("this machine has no /proc, which says what a process holds: it runs on Linux alone")
    sizes = [int(text) for text in given.sizes.split(",")] if given.sizes else [*SIZES, *([FULL] if given.full else [])]
    asked = given.only.split(",")
    verbs = [verb for verb in VERBS if verb in asked or (verb == "compare" and "forecast" in asked)]
    with tempfile.TemporaryDirectory() as name:
        fixed, *rest = (measured(series, Path(name) / str(series), verbs) for series in (FIXED, *sorted(sizes)))
    for line in lines(fixed, rest):
        print(line)
    content = [
        {**asdict(size), "verbs": {verb: _rounded(spent) for verb, spent in size.verbs.items()}} for size in (fixed, *rest)
    ]
    print(json.dumps(content))


def _rounded(spent: Spent) -> dict[str, object]:
    """All but what it said, in the digits that count."""
    seconds = {stage: round(value, 2) for stage, value in spent.cpu_of.items()}
    return {"cpu": round(spent.cpu, 2), "peak": spent.peak, "cpu_of": seconds, "peak_of": spent.peak_of}


if __name__ == "__main__":
    main()
