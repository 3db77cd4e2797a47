"""Stores what a remote fit reports where a local process would have, and finds what it can resume from."""

from pathlib import Path

from models.fit import checkpoint
from models.fit.checkpoint import KEEP, newest_first
from models.remote import LEFT, Over, Refused, Row, Said, Saved, Warned
from models.worker import is_done
from params.errors import UserError
from tasks.engine.contract import Listener


class Heard:
    """The folder of a fit and its listener.  Rows reported before a worker died are not passed on again."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        self.folder, self.listener = folder, listener
        self._epoch = -1.0
        self._files: set[str] = set()

    def hear(self, message: Said) -> None:
        """Takes one message.  Raises UserError for a refused fit, StorageFull if a file does not fit on this
        disk, ValueError for a file that no fit writes."""
        if isinstance(message, Refused):
            raise UserError(f"{message.words}; what trains must be the same everywhere (docs/cluster.md)")
        if isinstance(message, Warned):
            self.listener.warning(message.words)
        elif isinstance(message, Row) and message.row["epoch"] > self._epoch:
            self._epoch = message.row["epoch"]
            self.listener.epoch(message.row)
        elif isinstance(message, Saved) and message.name in LEFT:
            checkpoint.write_bytes(self.folder / message.name, message.content)
            self._files.add(message.name)
        elif isinstance(message, Saved):
            checkpoint.keep(self.folder, message.name, message.content)
        elif isinstance(message, Over):
            self._ended(message)

    def _ended(self, over: Over) -> None:
        """After a fit that ended well, removes its checkpoints and forecasts of earlier runs."""
        if over.status == 0 and is_done(self.folder):
            for path in self.folder.glob("*.npy"):
                if path.name not in self._files:
                    path.unlink()
            checkpoint.clear(self.folder)


def newest(folder: Path) -> str:
    """How far a fit is: the name of its result if only forecasts are missing, or of its newest checkpoint."""
    return "result.json" if is_done(folder) else next((path.name for path in newest_first(folder)), "")


def there(folder: Path) -> dict[str, bytes]:
    """What a worker resumes from: the weights of a trained fit, or its checkpoints, newest first."""
    names = ["weights.pt", "result.json"] if is_done(folder) else [path.name for path in newest_first(folder)[:KEEP]]
    return {name: (folder / name).read_bytes() for name in names}
