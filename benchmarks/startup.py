"""The processor time of the verbs that only look, against what they cannot do without; never a test.

    python -m benchmarks.startup                five rounds
    python -m benchmarks.startup --rounds 9

Each command is a process of its own, in a state folder that holds one comparison of one model and one decision.  The bare
commands: `import mlflow`, `import torch`, and a typer program of one verb that prints its help.  All take turns in one run,
after a round that does not count; a ratio is the median over the rounds of a verb's seconds (user and system) to those of its
bare command in the same round.  Last line: JSON with the ratios.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
HELP = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'])"
BARE = {"help": ["-c", HELP], "mlflow": ["-c", "import mlflow"], "torch": ["-c", "import torch"]}
RUN = "params/smoke.yaml"
VERBS = {  # name -> bare command, arguments, exit status
    "--help": ("help", ["--help"], 0),
    "mistake in params": ("help", ["compare", RUN, "--set", "training.max_epoch=3"], 2),
    "no params file": ("help", ["validate", "params/none.yaml"], 2),
    "history": ("mlflow", ["history", "smoke"], 0),
    "leaderboard": ("mlflow", ["leaderboard", "smoke"], 0),
    "variants": ("torch", ["variants"], 0),
    "lags --head": ("mlflow", ["lags", RUN, "--head"], 0),
}
FILL = """
import json
from pathlib import Path
from flows.runtime.state import ready
from tasks.promote import ledger
from tasks.tracking import connection, logs, runs
home = ready()
connection.connect(home)
parent, _ = runs.parent_run(runs.experiment("smoke", home), "smoke", "benchmark")
row = {"name": "gru", "kind": "variant", "family": "recurrent", "seed": 0, "val_score": 1.0, "val_mae": 1.0, "test_mae": 1.0}
found = {"rows": [{**row, "status": "finished"}], "unit": "the unit of y", "gain": None, "choose_by": "mae"}
logs.log_text(parent, json.dumps(found), "leaderboard.json")
runs.finish(parent)
ledger.close_entry(ledger.open_entry("smoke", home, ledger.Event.PROMOTED, "1", None, "a benchmark", {}))
"""


def seconds(arguments: list[str], status: int, home: Path) -> float:
    """Processor seconds of `python ARGUMENTS`, its children included.  Raises RuntimeError where it ends otherwise."""
    environment = {**os.environ, "LAGLINE_HOME": str(home), "COLUMNS": "120"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    commands = {name: (arguments, 0) for name, arguments in BARE.items()}
    commands |= {name: (["-m", "flows", *arguments], status) for name, (_, arguments, status) in VERBS.items()}
    with tempfile.TemporaryDirectory() as folder:
        seconds(["-c", FILL], 0, Path(folder))
        timings = [{name: seconds(*command, Path(folder)) for name, command in commands.items()} for _ in range(rounds + 1)][1:]
    middle = {name: statistics.median(timing[name] for timing in timings) for name in commands}
    ratios = {
        name: statistics.median(timing[name] / timing[bare] for timing in timings) for name, (bare, _, _) in VERBS.items()
    }
    print(f"{'command':<20} {'CPU s':>7}   ratio")
    for name in BARE:
        print(f"{'bare ' + name:<20} {middle[name]:7.2f}")
    for name, ratio in ratios.items():
        print(f"{name:<20} {middle[name]:7.2f}   {ratio:.2f} x bare {VERBS[name][0]}")
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
