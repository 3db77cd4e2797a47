"""The way to the terminal and the logs, in processes of their own: prints in pieces, rich on a terminal, tracebacks."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SECRET = "t0psecret-7"
BEGIN = f"import os, sys\nos.environ['A_TOKEN'] = {SECRET!r}\nfrom flows.runtime.terminal import *\nguard()\nguard()\n"


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, "-c", BEGIN + code], os.environ | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", errors="surrogateescape")


def on_a_terminal(code: str) -> str:
    """All that a process writes to a terminal of 80 columns."""
    ours, its = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "PYTHON_COLORS": "1"}
    with subprocess.Popen([sys.executable, "-c", BEGIN + code], cwd=ROOT, env=environment, stdout=its, stderr=its) as process:
        os.close(its)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # nobody has it open any more
                break
            if not part:
                break
            said += part
        process.wait()
    os.close(ours)
    return said.decode()


@pytest.mark.parametrize(
    ("code", "out"),
    [
        ("print('a', 'http://u:p@h', 'b\\x1b[2J\\x9b')", "a http://u:***@h b\\x1b[2J\\x9b\n"),
        ("print('http://u:', 't0p', '@h', sep='', end='!\\n')", "http://u:***@h!\n"),
        ("[sys.stdout.write(letter) for letter in 'x t0psecret-7 y\\n']", "x *** y\n"),
        ("print('ask: ', end='', flush=True); os.write(1, b'now')", "ask: now"),
        ("print('no end', end='')", "no end"),
        ("print('\\udcff \\u202e \\r')", "\\udcff \\u202e \\r\n"),
        ("sys.stdout.writelines(['a\\n', 'token=b'])", "a\ntoken=***"),
        ("import typer; typer.echo('a\\x07 ' + 't0psecret-7')", "a\\x07 ***\n"),
        ("print_json({'a': ['http://u:p\"@h', '\\x1b', 1.5, None, {'t0psecret-7': 1}]})", None),
        ("hand_over('the key: http://u:p@h?token=a')", "the key: http://u:p@h?token=a\n"),
    ],
)
def test_what_is_printed_is_shown(code: str, out: str | None) -> None:
    done = run(code)
    assert done.returncode == 0, done.stderr
    if out is None:
        assert json.loads(done.stdout) == {"a": ["http://u:***@h", "\x1b", 1.5, None, {"***": 1}]}
    else:
        assert done.stdout == out


@pytest.mark.parametrize(
    "code",
    [
        "import logging; logging.warning('%s \\x1b', 't0psecret-7')",
        "import logging\ntry: 1 / 0\nexcept Exception: logging.exception('at http://u:t0psecret-7@h')",
        "import logging\ntry: raise ValueError('token=t0psecret-7')\nexcept Exception: logging.exception('x')",
        "import warnings; warnings.warn('t0psecret-7 \\x9b')",
        "raise ValueError('http://u:t0psecret-7@h/\\x1b[31m')",
        "import threading\ndef f(): raise ValueError('t0psecret-7')\nt = threading.Thread(target=f); t.start(); t.join()",
        "from rich.console import Console\nConsole(stderr=True).print('\\x1b[31m http://u:t0psecret-7@h')",
        "import logging; x = logging.getLogger('x'); x.addHandler(logging.StreamHandler()); x.error('t0psecret-7')",
        "os.fork() or (print('t0psecret-7', file=sys.stderr), sys.stderr.flush(), os._exit(0)); os.wait()",
    ],
)
def test_logs_warnings_and_tracebacks_are_shown(code: str) -> None:
    done = run(code)
    assert "***" in done.stderr and SECRET not in done.stderr + done.stdout
    assert not {"\x1b", "\x9b"} & set(done.stderr)


def test_a_log_file_of_a_library_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        f"import logging; logging.basicConfig(filename={str(log)!r}); logging.error('a t0psecret-7 \\x1b\\r b', exc_info=True)"
    )
    assert run(code).returncode == 0
    assert "ERROR:root:a *** \\x1b\\r b" in log.read_text()


def test_an_encoding_without_a_letter_is_no_error() -> None:
    done = run("print('ä Σ \\u202e'); print('Σ', file=sys.stderr)", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\xe4 \\u03a3 \\u202e\n", "\\u03a3\n")


def test_rich_keeps_its_colours_on_a_terminal_and_data_gets_none() -> None:
    code = """
from rich.console import Console
from rich.table import Table
from rich.text import Text
table = Table()
table.add_column("na\\x1b[5mme")
table.add_row(Text("good", "green"), style="bold")
table.add_row("evil\\x1b[8m\\x9b31m")
table.add_row("http://user:t0psecret-7@" + "long-" * 20 + "host")  # broken into lines, and coloured in the middle
Console().print(table)
print("\\x1b[5m plain", file=sys.stderr)
raise ValueError("\\x1b[5m")
"""
    said = on_a_terminal(code)
    assert "\x1b[1;32mgood" in said and "\\x1b[8m\\x9b31m" in said and "na\\x1b[5mme" in said
    assert "\x1b[8m" not in said and "\x9b" not in said and "\x1b[5m" not in said and "***" in said
    assert "t0psecret" not in said and "t0p" not in said


def test_so_it_is_while_a_stage_changes_in_place() -> None:
    code = """
import logging, warnings
from flows.runtime.progress import Board
with Board() as board, board.stage("a \\x1b[5m stage at http://u:t0psecret-7@h"):
    print("between \\x1b[5m\\x1b]8;;http://evil\\x1b\\\\ t0psecret-7")
    print("to err \\x1b[8m", file=sys.stderr)
    logging.warning("logged \\x1b[8m t0psecret-7")
    print("in two ", end="", file=sys.stderr)
    board.say("said \\x1b[5m t0psecret-7")
print("after \\x1b[5m t0psecret-7")
"""
    said = on_a_terminal(code)
    for words in (
        "between \\x1b[5m",
        "to err \\x1b[8m",
        "logged \\x1b[8m ***",
        "said \\x1b[5m ***",
        "after \\x1b[5m ***",
        "in two",
    ):
        assert words in said
    assert "\x1b[?25l" in said  # rich hides the cursor
    assert "\x1b[5m" not in said and "\x1b[8m" not in said and "\x1b]8" not in said and "t0psecret" not in said
