"""The verb reproduce: retrains a registered version from its fingerprint and compares the weights."""

from pathlib import Path

from rich.console import Console

from flows.runtime.progress import Board
from params.errors import ChecksFailed
from tasks.engine.choice import engine
from tasks.promote.proof import reproduce as train_again
from tasks.registry.load import opened
from tasks.registry.versions import needed, parse
from tasks.tracking import connection


def show_reproduction(home: Path, reference: str) -> None:
    """Prints the result.  Raises ChecksFailed if other weights come out."""
    name, which = parse(reference)
    with Board() as board, board.stage(f"reproduce {name}@{which}"), connection.answered():
        connection.connect(home)
        with opened(needed(name, which)) as version:
            proof = train_again(version, home, engine().device(), board.say)
    if not proof.same:
        raise ChecksFailed(f"{version} was not reproduced: {proof.words}")
    Console(highlight=False).print(f"{version} was reproduced: {proof.words}", markup=False, soft_wrap=True)
