"""Public benchmarks by the same command as any run, beside floors and published results; never a test.

    python -m benchmarks.accuracy etth1 --data etth1.parquet                  ETTh1, horizon 96 (--horizon 192; --horizon all)
    python -m benchmarks.accuracy ettm1 --data ettm1.parquet
    python -m benchmarks.accuracy weather --data weather.parquet
    python -m benchmarks.accuracy m4_hourly --data m4_hourly_train.parquet
    python -m benchmarks.accuracy m4_weekly --data m4_weekly_train.parquet    (--set training.seeds=1 as for compare)

Runs `python -m flows compare params/benchmarks/NAME.yaml` (what was trained before is taken as it is) and reads its
leaderboard.
ETT and Weather: MSE and MAE in the standard deviations of each channel's training rows, over all test windows, no batch
dropped.
M4: the last 48 or 13 training rows are held out and scored by the competition's formulas (`_m4.py`, nothing of
ours), beside what the leaderboard says of the same forecasts (`ours`, whose scale of MASE is that of the training rows alone);
then the intervals: MSIS and ACD of 95 %, the weighted quantile loss, and the coverage of 90 % in each fifth of the series by
size, beside the leaderboard's MSIS and WQL.
What is chosen (*) is chosen on validation, whose score stands beside it.  docs/benchmarks.md says where the data are.
Last line: JSON.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks._m4 import OF_INTERVALS, of_intervals, owa
from flows.runtime.state import home, ready
from flows.verbs.runs import leaderboard_of
from params.load import load_run
from tasks.load.source import long_frame, open_source
from tasks.tracking import connection, logs, runs

BESIDE: dict[str, dict[str, str]] = {
    "etth1-96": {
        "seasonal naive (24 h)": "0.512 MSE, 0.433 MAE",
        "RNN / GRU / TCN as published": "1.70 / 1.14 / 0.92 MSE",
        "our earlier closed-form ridge (336)": "0.370",
        "SegRNN (look-back 720)": "0.351",
        "DUET": "0.352",
        "DLinear": "0.379",
    },
    "etth1-192": {"our earlier closed-form ridge (336)": "0.403", "SegRNN (720)": "0.392", "DUET": "0.398", "DLinear": "0.427"},
    "etth1-336": {"our earlier closed-form ridge (336)": "0.428", "SegRNN (720)": "0.423", "DUET": "0.414", "DLinear": "0.440"},
    "etth1-720": {"our earlier closed-form ridge (336)": "0.434", "SegRNN (720)": "0.466", "DUET": "0.430", "DLinear": "0.473"},
    "ettm1-96": {"our earlier closed-form ridge (336)": "0.301", "SegRNN (720)": "0.293"},
    "weather-96": {"our earlier closed-form ridge (336)": "0.175", "SegRNN (720)": "0.143"},
    "m4-hourly": {
        "Naive2 / seasonal naive": "1.000 / 0.627 OWA",
        "Theta": "1.006",
        "ES-RNN (1st of the competition)": "0.440",
        "FFORMA (2nd)": "0.484",
        "best of all 59": "0.410",
    },
    "m4-weekly": {
        "Naive2 / seasonal naive": "1.000 / 1.000 OWA",
        "Theta": "0.971",
        "ES-RNN (1st of the competition)": "0.851",
        "FFORMA (2nd)": "0.796",
        "best of all 59": "0.739",
    },
}  # published, unless it says ours; of M4 those of the true test
INTERVALS: dict[str, dict[str, tuple[float | None, ...]]] = {
    "naive": {"m4-hourly": (71.2, 0.011, None), "m4-weekly": (26.36, 0.001, None)},
    "seasonal naive": {"m4-hourly": (9.23, None, 0.0376)},
    "ETS": {"m4-hourly": (17.49, 0.001, None), "m4-weekly": (20.39, 0.014, None)},
    "ARIMA": {"m4-hourly": (7.54, 0.001, None), "m4-weekly": (19.58, 0.005, None)},
    "ES-RNN (1st of the competition)": {"m4-hourly": (7.93, 0.040, None), "m4-weekly": (22.03, 0.021, None)},
    "best of the competition": {"m4-hourly": (6.14, 0.002, None), "m4-weekly": (16.20, 0.012, None)},
    "PatchTST": {"m4-hourly": (24.5, None, 0.0390), "m4-weekly": (22.5, None, 0.0402)},
    "xLSTM-Mixer": {"m4-hourly": (25.5, None, 0.0302), "m4-weekly": (17.8, None, 0.0391)},
    "TiRex (pre-trained)": {"m4-hourly": (5.45, None, 0.0202), "m4-weekly": (13.7, None, 0.0367)},
}  # MSIS, ACD, WQL as published, of the true test: of the competition's own table, or of GIFT-Eval's runs
HORIZONS = (96, 192, 336, 720)
SEASONS = {"m4_hourly": 24, "m4_weekly": 1}
DIGITS = (("smape", 3), ("mase", 3), ("owa", 4), ("test_owa", 4))  # of the scores of M4, in their columns; the last is ours


def main() -> None:
    """Trains, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=("etth1", "ettm1", "weather", *SEASONS))
    parser.add_argument("--data", type=Path, help="the file in long format, in place of that in the params")
    parser.add_argument("--horizon", type=_horizons, help="of ETT and Weather: 96 (the default), 192, 336, 720, or all of them")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="as for compare")
    given = parser.parse_args()
    if given.name is None:
        parser.print_help()
        return
    if given.horizon and given.name in SEASONS:
        parser.error(f"--horizon: that of {given.name} is the competition's")
    if given.name not in SEASONS and any(text.startswith("windows.horizon=") for text in given.settings):
        parser.error("--set windows.horizon: write --horizon, which names the run after it too")
    ready()
    if given.name in SEASONS:
        results = {"m4": run(given, [])}
        show_m4(given, results["m4"])
    else:
        named = {h: [f"windows.horizon={h}", f"name={given.name}-{h}"] for h in given.horizon or HORIZONS[:1]}
        results = {str(h): run(given, settings) for h, settings in named.items()}
        show_long(results)
    print(json.dumps({key: result["rows"] for key, result in results.items()}))


def _horizons(text: str) -> tuple[int, ...]:
    if text == "all":
        return HORIZONS
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of steps from 1 on nor all")
    return (int(text),)


def run(given: argparse.Namespace, settings: list[str]) -> dict[str, Any]:
    """Compares, and returns the leaderboard, the command, and the file of the test forecasts; ends as the comparison where that
    did not end well, which has said why."""
    settings = [*([f"data.path={given.data.absolute()}"] if given.data else []), *settings, *given.settings]
    params = f"params/benchmarks/{given.name}.yaml"
    command = ["python", "-m", "flows", "compare", params, *(part for text in settings for part in ("--set", text))]
    print(shlex.join(command), flush=True)
    done = subprocess.run([sys.executable, *command[1:]], check=False, env=os.environ | {"COLUMNS": "150"})
    if done.returncode:
        sys.exit(done.returncode)
    connection.connect(home())
    params_of = load_run(params, settings)
    comparison = runs.last_comparison(params_of.name)
    kept = comparison.data.tags.get("forecasts")
    file = Path(kept) if kept else logs.artifact(comparison.info.run_id, "forecasts.parquet")
    leaderboard = leaderboard_of(params_of.name, comparison.info.run_id)
    details = {"name": params_of.name, "run": params_of, "command": shlex.join(command)}
    return {**details, "rows": leaderboard["rows"], "chosen": leaderboard["chosen"], "forecasts": file}


def show_long(results: dict[str, dict[str, Any]]) -> None:
    """A row a variant and horizon, then the means over horizons where there are several."""
    for result in results.values():
        print(f"\n{result['name']}: {result['command']}")
        print(f"  {'':28}{'val MSE':>9}{'test MSE':>10}{'±':>8}{'test MAE':>10}{'seeds':>7}{'minutes':>9}")
        for row in finished(result["rows"]):
            spread = row["test_mse_scaled_spread"]
            spread_cell = f"{spread:8.4f}" if spread is not None else f"{'':8}"
            numbers = f"{row['val_mse_scaled']:9.4f}{row['test_mse_scaled']:10.4f}{spread_cell}{row['test_mae_scaled']:10.4f}"
            print(f"  {_label(row, result):28}{numbers}{row['seeds'] or '':>7}{_minutes(row):>9}")
        _beside(result["name"])
    if len(results) > 1:
        print("\nmean test MSE over", ", ".join(results))
        tables = [{row["name"]: row["test_mse_scaled"] for row in finished(result["rows"])} for result in results.values()]
        for name in tables[0]:
            if all(name in table for table in tables):
                print(f"  {name:28}{sum(table[name] for table in tables) / len(tables):9.4f}")
        chosen = [table[result["chosen"]] for table, result in zip(tables, results.values(), strict=True) if result["chosen"]]
        if len(chosen) == len(results):
            print(f"  {'* chosen on validation':28}{sum(chosen) / len(chosen):9.4f}")


def show_m4(given: argparse.Namespace, result: dict[str, Any]) -> None:
    """A row a model with its scores on the rows held out, and adds them to its row.  Naive2 is that of the competition."""
    frame = pl.read_parquet(result["forecasts"])
    history = long_frame(result["run"], open_source(result["run"].data)).select("unique_id", "ds", "y").collect()
    scores = scores_of(frame, result["rows"], history, SEASONS[given.name])
    print(f"\n{result['name']}, {frame['unique_id'].n_unique()} series held out: {result['command']}")
    print(f"  {'':28}{'val OWA':>9}{'sMAPE':>9}{'MASE':>9}{'OWA':>9}{'ours':>9}{'seeds':>7}{'minutes':>9}")
    for row in result["rows"]:
        row |= scores.pop(row["name"], {})
    more = [
        {"name": name, "val_score": None, "seeds": None, **row_scores} for name, row_scores in scores.items()
    ]  # Naive2, where it is no row
    for row in [*(row for row in result["rows"] if "owa" in row), *more]:
        val = f"{row['val_score']:9.3f}" if row["val_score"] is not None else f"{'':9}"
        numbers = "".join(f"{row[key]:9.{digits}f}" if row.get(key) is not None else f"{'':9}" for key, digits in DIGITS)
        print(f"  {_label(row, result):28}{val}{numbers}{row['seeds'] or '':>7}{_minutes(row):>9}")
    _beside(result["name"])
    show_intervals(result)


def show_intervals(result: dict[str, Any]) -> None:
    """A row a model with the scores of its intervals, which stand in its row."""
    head = (*("MSIS", "ACD", "WQL", "cover 90"), *(f"fifth {k}" for k in range(1, 6)), "our MSIS", "our WQL")
    print(f"\n  {'':28}" + "".join(f"{name:>9}" for name in head))
    for row in [row for row in result["rows"] if row.get("msis") is not None]:
        ours = f"{_cell(row['test_msis_95'], 2)}{_cell(row['test_wql'], 4)}"
        shares = "".join(_cell(row[key], 3) for key in OF_INTERVALS[3:])
        print(f"  {_label(row, result):28}{_cell(row['msis'], 2)}{_cell(row['acd'], 3)}{_cell(row['wql'], 4)}{shares}{ours}")
    for method, by_panel in INTERVALS.items():
        if result["name"] not in by_panel:
            continue
        msis, acd, wql = by_panel[result["name"]]
        print(f"  {'(beside) ' + method:52}{_cell(msis, 2)}{_cell(acd, 3)}{_cell(wql, 4)}")


def _cell(value: float | None, digits: int) -> str:
    return f"{'':9}" if value is None else f"{value:9.{digits}f}"


def scores_of(
    frame: pl.DataFrame, rows: list[dict[str, Any]], history: pl.DataFrame, season: int
) -> dict[str, dict[str, float | None]]:
    """Name of a row -> smape, mase and owa of its forecasts by the competition's formulas, and the scores of its intervals; the
    mean over its seeds."""
    names = [row["name"] for row in finished(rows) if row["name"] != "naive2"]
    columns = {
        name: [column for column in frame.columns if re.fullmatch(re.escape(name) + r"(-s\d+)?", column)] for name in names
    }
    by_fit = owa(frame, history, [column for some in columns.values() for column in some], season)
    for column in {*by_fit} & {*frame.columns}:
        by_fit[column] |= of_intervals(frame, history, column, season)
    return {name: _mean([by_fit[column] for column in some]) for name, some in columns.items() if some} | {
        "naive2": by_fit["naive2"]
    }


def finished(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what failed or was left out."""
    return [row for row in rows if row["status"] == "finished" and row["val_score"] is not None]


def _mean(scores: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Over the seeds of a variant."""
    known = {key: [seed_scores[key] for seed_scores in scores] for key in scores[0]}
    return {key: None if None in values else float(np.mean(values)) for key, values in known.items()}


def _label(row: dict[str, Any], result: dict[str, Any]) -> str:
    return f"{row['name']} *" if row["name"] == result["chosen"] else str(row["name"])


def _minutes(row: dict[str, Any]) -> str:
    seconds = row.get("train_seconds")
    return "" if seconds is None else f"{seconds / 60:.1f}"


def _beside(name: str) -> None:
    for method, score in BESIDE.get(name, {}).items():
        print(f"  {'(beside) ' + method:52}{score}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # the comparison has said so
        sys.exit(130)
