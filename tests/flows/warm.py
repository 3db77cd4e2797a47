"""Command lines in processes that are forked from one that has imported everything: the same, seconds sooner.

`python tests/flows/warm.py` reads requests from its standard input, one JSON object a line, and answers with the exit status.
"""

import atexit
import gc
import json
import os
import sys
import threading
import warnings
from importlib import import_module
from pathlib import Path

FIRST = (
    *("mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "prefect"),
    *("great_expectations", "matplotlib.pyplot", "pandas", "scipy.stats", "torch.export"),
)
OURS = ("compare", "promote", "retrain", "verbs.data", "verbs.forecast", "verbs.reproduce", "verbs.runs")


def import_all() -> None:
    """Imports what the verbs need and builds networks once, for which torch imports more."""
    gc.disable()
    from flows.runtime.state import set_environment

    before = dict(os.environ)
    set_environment(Path("nowhere").absolute())  # what prefect and mlflow read when they are imported
    for name in (*FIRST, *(f"flows.{name}" for name in OURS)):
        import_module(name)
    os.environ.clear()
    os.environ.update(before)
    from params.load import load_plan
    from tasks.engine.contract import variables
    from tasks.engine.forked import warm_up
    from tasks.files import ROOT
    from tasks.train.check import check_plan

    check_plan(load_plan(Path("params/smoke.yaml"), []))
    warm_up(os.environ | variables(1) | {"PYTHONPATH": str(ROOT)})  # the fits of all commands are forks of one server


def become(arguments: list[str], cwd: str, environment: dict[str, str], output: list[str]) -> None:
    """This process is now `python -m flows ARGUMENTS`, as far as it can tell."""
    opened = [os.open(os.devnull, os.O_RDONLY), *(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in output)]
    for number, descriptor in enumerate(opened):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["flows", *arguments]
    warnings.simplefilter("ignore")


def end(status: int) -> None:
    """As an interpreter ends, but for taking down all that was imported, which takes seconds of its own."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serves until the end of the input; in a child it runs one command line and ends with its status."""
    import_all()
    from prefect.context import refresh_global_settings_context

    from flows.__main__ import run
    from flows.runtime.state import home, set_environment

    gc.enable()
    gc.freeze()  # what is there is shared with every child, and not copied when one collects its garbage
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(**json.loads(line))
            set_environment(home())  # the verb does it, too, but prefect has been imported before
            refresh_global_settings_context()
            end(run())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


if __name__ == "__main__":
    main()
