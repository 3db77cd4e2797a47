"""The verbs check-family and check-baseline: whether code from outside the repository meets our contracts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from params.errors import ChecksFailed, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.checks import Check

Code = Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="Such as my_package.nets:MyNet, in this folder.")]
Function = Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="Such as my_forest:forest, in this folder.")]
Arguments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An argument of its constructor; may be repeated: hidden_size=8."),
]


def check_family(code: Code, settings: Arguments = None) -> None:
    """Check a network of your own against the contract that every family meets; exit status 1 if it does not."""
    network = _arguments(settings or [])
    from models.checks import Subject, failures
    from models.networks.contract import check_arguments
    from models.outside import OutsideError, as_network, take_in
    from tasks.train.outside import find

    try:
        check_arguments(as_network(take_in(find(code, Path.cwd(), code))), code, network)
    except (OutsideError, ValueError) as error:
        raise UserError(f"{code}: {error}") from error
    _printed(failures(Subject(code, network)), f"{code} does not meet the contract of a family")


def check_baseline(code: Function) -> None:
    """Check a baseline of your own against the contract of `baselines`; exit status 1 if it does not."""
    from models.baseline_checks import CHECKS
    from models.baseline_fit import take_in_baselines
    from models.checks import tried
    from models.outside import OutsideError, taken
    from tasks.train.outside import find

    try:
        take_in_baselines([find(code, Path.cwd(), code)])
    except OutsideError as error:
        raise UserError(f"{code}: {error}") from error
    _printed(tried(CHECKS, taken(code)), f"{code} does not meet the contract of a baseline")


def _printed(results: "Iterable[tuple[Check, str]]", sentence: str) -> None:
    """Prints a line for each check.  Raises ChecksFailed, with `sentence`, if one failed."""
    failed = 0
    for check, wrong in results:
        failed += bool(wrong)
        print(f"failed  {check.name}  {wrong}; {check.remedy}" if wrong else f"passed  {check.name}  {check.must}", flush=True)
    if failed:
        raise ChecksFailed(f"{sentence}: {failed} of the checks above failed")


def _arguments(settings: list[str]) -> dict[str, int | float | str]:
    """The constructor's arguments.  Raises UserError for a text that is not NAME=VALUE with one value."""
    from params.load import parse_setting

    arguments = {}
    for text in settings:
        path, value = parse_setting(text)
        if len(path) > 1 or not isinstance(value, bool | int | float | str):
            raise UserError(f"--set {text}: write an argument of the constructor and one value, such as --set hidden_size=8")
        arguments[path[0]] = value
    return arguments
