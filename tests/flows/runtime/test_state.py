"""The state folder and the environment: what is made, what is refused, what is set before any heavy import."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy
from safetensors.numpy import save_file

from flows.runtime.state import full_disk, home, prefect_home, prepare
from params.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with its own state folder and none of our environment's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "GX_", "DO_NOT"))}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**kept, "LAGLINE_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_makes_the_folders_for_the_owner_alone_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path / "deep" / "state"))
    folder = prepare()
    (folder / "panels" / "kept").write_text("kept")
    assert prepare() == folder == tmp_path / "deep" / "state"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {"artifacts", "panels", "checkpoints", "locks", prefect_home(folder).name, "layout.json"} == {
        path.name for path in folder.iterdir()
    }
    assert json.loads((folder / "layout.json").read_text()) == {"layout": 1}
    assert (folder / "panels" / "kept").read_text() == "kept"


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o770, 0o701, 0o750, 0o2775, 0o1777])
def test_takes_a_folder_that_was_open_from_others_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    tmp_path.chmod(mode)
    assert prepare() == prepare()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and f"{tmp_path}: was open to other users (mode {mode:04o})" in told.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_refuses_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    prepare()
    os.chown(tmp_path, 12345, 12345)
    tmp_path.chmod(0o777)
    with pytest.raises(UserError, match=r"another user \(number 12345\).*chown"):
        prepare()
    assert tmp_path.stat().st_mode & 0o777 == 0o777


def test_goes_on_where_a_file_system_keeps_no_modes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of such a disk (FAT) nothing else is looked at than that a change of the mode changes nothing."""
    tmp_path.chmod(0o755)
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    prepare()
    assert capsys.readouterr().err == (
        f"lagline: LAGLINE_HOME={tmp_path}: is open to other users, and its file system lets nobody change that (mode 0755)\n"
    )


def test_is_absolute_and_lies_in_the_working_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAGLINE_HOME", raising=False)
    assert home() == tmp_path / ".lagline"
    monkeypatch.setenv("LAGLINE_HOME", "a/../b")
    assert home() == tmp_path / "b"


@pytest.mark.slow
def test_several_processes_may_start_at_once(tmp_path: Path) -> None:
    script = "from flows.runtime.state import prepare; prepare()"
    environment = {**os.environ, "LAGLINE_HOME": str(tmp_path / "state")}
    started = [subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment) for _ in range(6)]
    assert [process.wait(60) for process in started] == [0] * 6
    assert not [path.name for path in (tmp_path / "state").iterdir() if path.name.startswith(".")]


def test_refuses_a_folder_of_a_newer_version_and_leaves_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    (tmp_path / "layout.json").write_text('{"layout": 2, "later": "news"}')
    with pytest.raises(UserError, match="newer lagline"):
        prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["layout.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", '{"layout": "1"}', '{"layout": true}', '{"layout": 0}', "\xff", "[" * 100_000]
)
def test_refuses_a_layout_that_it_cannot_understand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    (tmp_path / "layout.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="cannot be understood"):
        prepare()


@pytest.mark.parametrize("below", ["", "state", "deep/state"])
def test_refuses_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path / "file" / below))
    with pytest.raises(UserError, match=r"LAGLINE_HOME=.*file.*set LAGLINE_HOME"):
        prepare()


def test_refuses_a_sub_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "panels").write_text("")
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="panels is a file"):
        prepare()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system on which root cannot write either")
def test_refuses_a_file_system_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", "/proc/lagline")
    with pytest.raises(UserError, match="cannot be written"):
        prepare()


def test_finds_out_by_really_writing(tmp_path: Path) -> None:
    """The folders can be made, but no file can hold a byte; root feels that limit too."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); from flows.runtime.state import prepare; prepare()"
    )
    done = run(script, tmp_path / "state", PYTHONDONTWRITEBYTECODE="1")
    assert "params.errors." in done.stderr and "cannot be written" in done.stderr and "make room" in done.stderr
    assert (tmp_path / "state" / "locks").is_dir() and not (tmp_path / "state" / "layout.json").exists()


def test_a_state_folder_whose_disk_is_full_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing could make room there; the limit is felt as a full disk is."""
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    prepare()
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); import flows.runtime.state as b; b.prepare()"
    done = run(script, tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_full_disk_is_told_whoever_met_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    wrapped = RuntimeError("a task broke")
    wrapped.__cause__ = OSError(28, "No space left on device", "/there/report.html")
    assert (full_disk(wrapped) or "").startswith("the disk is full (/there/report.html): make room, by python -m flows prune")
    assert full_disk(OSError(13, "Permission denied", "/there")) is None and full_disk(ValueError("no")) is None


def test_a_full_disk_is_told_by_its_number_whatever_library_met_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real errors: polars and safetensors under a limit, which is felt as a full disk, and a full SQLite behind SQLAlchemy."""
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    frame, weights = pl.DataFrame({"a": np.arange(100_000)}), {"a": np.zeros(100_000)}
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/small.db")

    def fill_database() -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("pragma max_page_count=2"))
            connection.execute(sqlalchemy.text("create table t(a text)"))
            connection.execute(sqlalchemy.text("insert into t values (:a)"), {"a": "x" * 100_000})

    def wrote(path: Path) -> None:
        raise ValueError(f"{path}: bad")

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        for write, full in (
            (lambda: frame.write_parquet(tmp_path / "a.parquet"), True),
            (lambda: save_file(weights, tmp_path / "a.safetensors"), True),
            (fill_database, True),
            (lambda: frame.write_parquet(tmp_path / "none" / "a.parquet"), False),
            (lambda: wrote(tmp_path), False),
        ):
            with pytest.raises(Exception) as caught:
                write()
            told = full_disk(caught.value)
            assert (told is not None) == full, repr(caught.value)
            assert not full or f"({tmp_path} or /" in (told or "")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        engine.dispose()


def test_refuses_a_path_that_no_database_address_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path / "what?"))
    with pytest.raises(UserError, match="do not fit"):
        prepare()


@pytest.mark.slow
def test_sets_the_environment_without_importing_what_reads_it(tmp_path: Path) -> None:
    script = """
import sys
from flows.runtime.state import home, set_environment
set_environment(home())
assert not {"torch", "mlflow", "prefect", "polars", "great_expectations"} & set(sys.modules), sorted(sys.modules)
from prefect.settings import get_current_settings
settings = get_current_settings()
print(settings.home, settings.results.default_serializer, settings.logging.level, settings.server.analytics_enabled)
"""
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(prefect_home(tmp_path)), "json", "CRITICAL", "False"]


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    script = """
import os
from flows.runtime.state import home, set_environment
set_environment(home())
print(os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["GX_ANALYTICS_ENABLED"])
"""
    assert run(script, tmp_path).stdout.split() == [f"sqlite:///{tmp_path}/mlflow.db", "true", "false"]
    assert run(script, tmp_path, MLFLOW_TRACKING_URI="http://there:5000").stdout.split()[0] == "http://there:5000"


@pytest.mark.slow
def test_a_flow_that_a_worker_calls_sets_its_environment_by_itself(tmp_path: Path) -> None:
    script = """
import os, unittest.mock
from flows.compare import compare
from flows.promote import promote
from flows.retrain import retrain
def seen(*_):
    raise AssertionError(os.environ.pop("MLFLOW_TRACKING_URI") + " " + os.environ.pop("MLFLOW_ALLOW_PICKLE_DESERIALIZATION"))
with unittest.mock.patch("tasks.tracking.connection.connect", seen):
    for flow, arguments in ((compare, ("params/smoke.yaml", [])), (promote, ("smoke",)), (retrain, ("params/smoke.yaml",))):
        try:
            flow.fn(*arguments)
        except AssertionError as error:
            print(error)
"""
    folder = tmp_path / "home"  # nobody has made it
    done = run(script, folder)
    assert done.stdout.splitlines() == [f"sqlite:///{folder}/mlflow.db false"] * 3, done.stderr
    assert (folder / "layout.json").is_file()


def test_what_is_set_but_empty_counts_as_not_set(tmp_path: Path) -> None:
    script = """
import os
from flows.runtime.state import home, set_environment
set_environment(home())
print(os.environ["MLFLOW_TRACKING_URI"], os.environ["PREFECT_HOME"], os.environ["DO_NOT_TRACK"])
print([name for name in ("PREFECT_API_URL", "MLFLOW_REGISTRY_URI") if name in os.environ])
"""
    names = ("MLFLOW_TRACKING_URI", "PREFECT_HOME", "DO_NOT_TRACK", "PREFECT_API_URL", "MLFLOW_REGISTRY_URI")
    done = run(script, tmp_path, **dict.fromkeys(names, ""))
    assert done.stdout.splitlines() == [f"sqlite:///{tmp_path}/mlflow.db {prefect_home(tmp_path)} true", "[]"], done.stderr


def test_a_store_that_does_not_answer_prints_no_line_for_each_try(tmp_path: Path) -> None:
    script = """
from flows.runtime.state import home, set_environment
set_environment(home())
import urllib3
try:
    urllib3.PoolManager().request("GET", "http://127.0.0.1:1/", retries=urllib3.Retry(2))
except urllib3.exceptions.MaxRetryError:
    print("gave up")
"""
    done = run(script, tmp_path)
    assert (done.stdout, done.stderr) == ("gave up\n", "")


@pytest.mark.parametrize("given", ["~nobody-of-that-name/x", f"~{'x' * 300}", "~nobody-of-that-name"])
def test_refuses_the_home_of_somebody_who_has_none(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("LAGLINE_HOME", given)
    with pytest.raises(UserError, match="there is no home folder ~"):
        prepare()


@pytest.mark.parametrize("own", ["/nowhere/at/all", "relative"])
def test_makes_no_home_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    monkeypatch.setenv("HOME", own)
    monkeypatch.setenv("LAGLINE_HOME", "~/x")
    with pytest.raises(UserError, match="there is no home folder ~;"):
        prepare()


def test_refuses_a_name_that_the_locale_cannot_hold(tmp_path: Path) -> None:
    script = "from flows.runtime.state import prepare; prepare()"
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(script, tmp_path / "K\N{LATIN SMALL LETTER O WITH DIAERESIS}ln", LC_ALL="C", **plain)
    if "ascii" in run("import sys; print(sys.getfilesystemencoding())", tmp_path, LC_ALL="C", **plain).stdout:
        assert "does not hold its name: set PYTHONUTF8=1 or LC_ALL=C.UTF-8" in done.stderr
        assert not any(path.name.startswith("K") for path in tmp_path.iterdir())
    else:  # where the C locale is UTF-8
        assert done.returncode == 0


def test_refuses_a_name_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", f"{tmp_path}/\udcff")
    with pytest.raises(UserError, match="is no UTF-8 text"):
        prepare()


def test_a_working_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.delenv("LAGLINE_HOME", raising=False)
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the working folder is gone"):
        prepare()


ADDRESSES = """
import os, sys
from flows.runtime.state import ready
ready()
plain = sys.__stdout__  # without the filter
print(*(os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("URI", "USERNAME", "PASSWORD")), file=plain)
print(*(os.environ.get(f"PREFECT_API_{name}") for name in ("URL", "AUTH_STRING")), file=plain)
"""


@pytest.mark.parametrize(
    ("given", "mlflow", "prefect"),
    [
        ("http://u:p%40w@h:5000/x", "http://h:5000/x u p@w", "http://h:5000/x u:p@w"),
        ("https://u:p@ss@h", "https://h u p@ss", "https://h u:p@ss"),
        ("https://token@h", "https://token@h None None", "https://h token:"),  # MLflow sends no user alone
        ("http://h:5000/a@b", "http://h:5000/a@b None None", "http://h:5000/a@b None"),
        ("postgresql://u:p@h/db", "postgresql://u:p@h/db None None", "postgresql://u:p@h/db None"),
    ],
)
def test_a_password_leaves_the_address_of_a_server(tmp_path: Path, given: str, mlflow: str, prefect: str) -> None:
    done = run(ADDRESSES, tmp_path / "home", MLFLOW_TRACKING_URI=given, PREFECT_API_URL=given)
    assert done.stdout.splitlines() == [mlflow, prefect], done.stderr


def test_a_registry_of_its_own_may_have_another_password_so_the_address_stays(tmp_path: Path) -> None:
    given, other = "http://u:p@h", "http://u:q@h2"
    done = run(ADDRESSES, tmp_path / "home", MLFLOW_TRACKING_URI=given, MLFLOW_REGISTRY_URI=other, PREFECT_API_URL=given)
    assert done.stdout.splitlines() == [f"{given} None None", "http://h u:p"], done.stderr


def test_a_layout_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_HOME", str(tmp_path))
    path = tmp_path / "layout.json"
    for make in (lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to("layout.json"), lambda: os.mkfifo(path)):
        make()
        with pytest.raises(UserError, match="cannot be understood"):
            prepare()
        path.unlink()
