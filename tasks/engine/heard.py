"""What a fit on another machine says, put where a process of this machine would have left it; what there is to go on from."""

from pathlib import Path

from models.fit import checkpoint
from models.fit.checkpoint import KEEP, newest_first
from models.remote import LEFT, Over, Refused, Row, Said, Saved, Warned
from models.worker import is_done
from params.errors import UserError
from tasks.engine.contract import Listener


class Heard:
    """The folder of a fit, and who hears of it.  A row that was heard before a worker died is not heard again."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        self.folder, self.listener = folder, listener
        self._epoch = -1.0
        self._files: set[str] = set()

    def hear(self, said: Said) -> None:
        """Takes one thing that was said.  Raises UserError for a fit that was refused, StorageFull where a file has no room
        here, ValueError for a file that no fit leaves."""
        if isinstance(said, Refused):
            raise UserError(f"{said.words}; what trains must be the same everywhere (docs/cluster.md)")
        if isinstance(said, Warned):
            self.listener.warning(said.words)
        elif isinstance(said, Row) and said.row["epoch"] > self._epoch:
            self._epoch = said.row["epoch"]
            self.listener.epoch(said.row)
        elif isinstance(said, Saved) and said.name in LEFT:
            checkpoint.write_bytes(self.folder / said.name, said.content)
            self._files.add(said.name)
        elif isinstance(said, Saved):
            checkpoint.keep(self.folder, said.name, said.content)
        elif isinstance(said, Over):
            self._ended(said)

    def _ended(self, said: Over) -> None:
        """Of a fit that has ended well, what it has no more is removed: forecasts of before, checkpoints."""
        if said.status == 0 and is_done(self.folder):
            for path in self.folder.glob("*.npy"):
                if path.name not in self._files:
                    path.unlink()
            checkpoint.clear(self.folder)


def newest(folder: Path) -> str:
    """How far a fit is: the name of its result where it has only to forecast, or of its newest checkpoint, or nothing."""
    return "result.json" if is_done(folder) else next((path.name for path in newest_first(folder)), "")


def there(folder: Path) -> dict[str, bytes]:
    """What a worker goes on from: the weights of a fit that is trained, or its checkpoints, the newest first."""
    names = ["weights.pt", "result.json"] if is_done(folder) else [path.name for path in newest_first(folder)[:KEEP]]
    return {name: (folder / name).read_bytes() for name in names}
