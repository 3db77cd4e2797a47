"""The verbs export and import: a registered version with its panel, as one file.  Heavy imports are lazy."""

from pathlib import Path
from typing import Annotated

import typer

from flows.runtime.arguments import Registered
from flows.runtime.begin import a_file, a_parcel, open_home

Parcel = Annotated[Path, typer.Argument(metavar="FILE", callback=a_parcel, help="The file to write.")]
Sent = Annotated[Path, typer.Argument(metavar="FILE", callback=a_file, help="A file that export wrote.")]
FOREIGN = (
    "It forecasts by code that this checkout does not have, of another lagline or of somebody else's, which promote and MLflow "
    "would run: look at code/ among the files of the version first."
)


def export_version(version: Registered, file: Parcel) -> None:
    """Write a registered version and the panel that it was trained on to one file, for another registry."""
    home = open_home()
    from flows.runtime.progress import Board
    from tasks.lags.sizes import size_text
    from tasks.registry.parcel import export
    from tasks.registry.versions import needed, parse
    from tasks.tracking import connection

    name, which = parse(version)
    with Board() as board, board.stage(f"export {name}@{which}"), connection.answered():
        connection.connect(home)
        header = export(needed(name, which), home, file)
    _print(
        f"{header.name} version {header.version} with its panel: {file} ({size_text(file.stat().st_size)})",
        f"Its seal: {header.seal}",
    )


def import_version(file: Sent) -> None:
    """Register the version of such a file as challenger; nothing of it is used before it is what its seal says."""
    home = open_home()
    from flows.runtime.progress import Board
    from tasks.registry.parcel import import_
    from tasks.tracking import connection

    with Board() as board, board.stage(f"import {file.name}"), connection.answered():
        connection.connect(home)
        imported = import_(file, home)
    header = imported.told
    _print(
        imported.registered.words(header.name),
        f"It was version {header.version} where it comes from, with the seal {header.seal}: ask its sender for that seal.",
        *([] if imported.own_code else [FOREIGN]),
        f"Next: python -m flows promote {header.name}",
    )


def _print(*lines: str) -> None:
    from rich.console import Console

    for line in lines:
        Console(highlight=False).print(line, markup=False, soft_wrap=True)
