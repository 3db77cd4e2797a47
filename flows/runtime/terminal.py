"""A filter on standard output, standard error and every log: shows text as `params/shown.py` does.

It wraps the streams, so that no print, warning, traceback or log line bypasses it.  rich, which writes
escape codes of its own, writes to the wrapped stream; its texts are filtered on entry, before it measures
and wraps them.
"""

import io
import json
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Any, TextIO, cast

from params.shown import escaped, learn, shown, shown_tree

_LOCK = threading.RLock()
# a child forked while another thread writes must not wait for that thread
os.register_at_fork(after_in_child=_LOCK._at_fork_reinit)  # type: ignore[attr-defined]


class Shown(io.TextIOBase):
    """A stream that filters what is written to it, line by line: a secret may arrive in pieces."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._begun = ""  # a line without an end yet

    def write(self, text: str, /) -> int:
        """Takes a text; whole lines are written at once."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with _LOCK:
            lines, end, self._begun = (self._begun + text).rpartition("\n")
            if end:
                self.stream.write(shown(lines) + end)
        return len(text)

    def flush(self) -> None:
        """Also writes an unfinished line."""
        with _LOCK:
            begun, self._begun = self._begun, ""
            if begun:
                self.stream.write(shown(begun))
            with suppress(ValueError):  # closed
                self.stream.flush()

    @property
    def rich_proxied_file(self) -> TextIO:
        """Where a rich console writes: the name is rich's own, for the stream behind a proxy."""
        file = self.stream
        while (below := getattr(file, "rich_proxied_file", None)) is not None:
            file = below
        return file

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute of its parent
        """The encoding of the stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The error handler of the stream."""
        return self.stream.errors

    def fileno(self) -> int:
        """The descriptor of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """Always true."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Record(logging.LogRecord):
    """A log record, filtered whichever handler takes it: a file, a terminal, Prefect's API."""

    def getMessage(self) -> str:
        """The message with its arguments."""
        return shown(super().getMessage())

    @property
    def exc_text(self) -> str | None:  # logging keeps the traceback there, as text
        """The traceback."""
        return self._exc_text

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        self._exc_text = None if text is None else shown(text)


def guard() -> None:
    """Installs the filter on standard output and error, rich's texts and all logs; may be called again."""
    import rich.text

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Shown):
            with suppress(AttributeError, ValueError, OSError):  # unencodable: escapes, no errors
                stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Shown(stream))
    rich.text.strip_control_codes = shown  # type: ignore[assignment,attr-defined]  # for all text
    logging.setLogRecordFactory(_Record)
    os.environ["PYTHON_COLORS"] = "0"  # Python's own tracebacks go to the stream as plain text
    learn()


def hand_over(line: str) -> None:
    """Prints a line that deliberately shows a key of ours, to the person who started us."""
    stream = cast("Shown | TextIO", sys.stdout)
    stream.flush()
    stream = stream.rich_proxied_file if isinstance(stream, Shown) else stream
    print(escaped(line), file=stream, flush=True)


def print_json(tree: Any) -> None:
    """Prints valid JSON for a program; secrets in its texts are masked."""
    hand_over(json.dumps(shown_tree(tree), indent=1))
