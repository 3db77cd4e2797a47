"""Panels on a shelf, a folder and a store that speaks S3 (moto's server): put whole, fetched checked, and never made up."""

import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import cloudpickle
import numpy as np
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from params.errors import Unavailable, UserError
from tasks import shelf
from tasks.grid.frequency import Frequency
from tasks.lags.panel import content_digest, write_panel
from tasks.registry.load import Version
from tasks.registry.unseen import panel_of

SECRET = "s3cr3t-of-the-shelf"
FILES = {"offsets.npy", "panel.json", "static.npy", "target.npy", "times.npy", "values.npy"}


@pytest.fixture
def panel(tmp_path: Path) -> Path:
    """One series of 500 steps in the panels of a home."""
    frame = pl.LazyFrame({"unique_id": ["a"] * 500, "ds": range(500), "y": [float(i % 7) for i in range(500)]})
    return write_panel(frame, WindowParams(4, {"y": FeatureWindow(24)}), Frequency(1), 0, tmp_path / "home" / "panels")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shelf in a folder with a space in its name."""
    found = tmp_path / "the shelf"
    found.mkdir()
    monkeypatch.setenv("LAGLINE_SHELF", found.as_uri())
    return found


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of a server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of it, which has a bucket `shelves`; the shelf lies below a folder of it."""
    for name, value in {
        "AWS_ENDPOINT_URL": moto, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET,
        "LAGLINE_SHELF": "s3://shelves/lagline",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    client.create_bucket(Bucket="shelves")
    yield client
    for found in client.list_objects_v2(Bucket="shelves").get("Contents", []):
        client.delete_object(Bucket="shelves", Key=found["Key"])
    client.close()


def contents(panel: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in panel.iterdir()}


def test_a_panel_goes_to_a_folder_once_and_comes_to_another_home_as_it_was(
    panel: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put(panel)
    there = folder / "panels" / panel.name
    assert contents(there) == contents(panel) and set(contents(there)) == FILES
    inodes = {file.name: file.stat().st_ino for file in there.iterdir()}
    shelf.put(panel)
    assert {file.name: file.stat().st_ino for file in there.iterdir()} == inodes  # nothing was written again
    other = tmp_path / "other" / "panels"
    assert shelf.get(panel.name, other)
    assert contents(other / panel.name) == contents(panel) and [path.name for path in other.iterdir()] == [panel.name]
    assert f"panel {panel.name[:12]} (" in (said := capsys.readouterr().err) and "came from the shelf file://" in said


def test_the_same_in_a_store(panel: Path, bucket: Any, tmp_path: Path) -> None:
    shelf.put(panel)
    keys = {found["Key"]: found["LastModified"] for found in bucket.list_objects_v2(Bucket="shelves")["Contents"]}
    assert {key.removeprefix(f"lagline/panels/{panel.name}/") for key in keys} == FILES
    assert keys[f"lagline/panels/{panel.name}/panel.json"] == max(keys.values())  # the last one, in whole seconds
    bucket.delete_object(Bucket="shelves", Key=f"lagline/panels/{panel.name}/times.npy")
    shelf.put(panel)  # what is not whole is put again
    assert shelf.get(panel.name, tmp_path / "panels")
    assert content_digest(tmp_path / "panels" / panel.name) == panel.name


def test_without_a_shelf_nothing_is_put_or_fetched(panel: Path, tmp_path: Path) -> None:
    shelf.put(panel)
    assert shelf.shelf() is None and not shelf.get("0" * 64, tmp_path / "panels")


def test_a_panel_without_its_facts_is_not_there(panel: Path, folder: Path, tmp_path: Path) -> None:
    """As a put that was killed leaves it: the next one makes it whole."""
    shelf.put(panel)
    (folder / "panels" / panel.name / "panel.json").unlink()
    assert not shelf.get(panel.name, tmp_path / "panels") and not list((tmp_path / "panels").iterdir())
    shelf.put(panel)
    assert shelf.get(panel.name, tmp_path / "panels")


def test_a_put_that_ends_early_leaves_no_panel(panel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any, size: int) -> None:
        target.write(source.read(10))
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(shelf.shutil, "copyfileobj", full)
        with pytest.raises(Unavailable, match=r"the shelf file://.* \(LAGLINE_SHELF\): No space left.*make room"):
            shelf.put(panel)
    assert contents(folder / "panels" / panel.name) == {}
    shelf.put(panel)
    assert contents(folder / "panels" / panel.name) == contents(panel)


@pytest.mark.parametrize("how", ["changed", "missing", "facts", "another"])
def test_a_damaged_panel_is_not_used_and_the_message_says_what_to_remove(
    how: str, panel: Path, folder: Path, tmp_path: Path
) -> None:
    shelf.put(panel)
    there = folder / "panels" / panel.name
    if how == "changed":
        np.save(there / "target.npy", np.load(there / "target.npy") + 1)
    elif how == "missing":
        (there / "values.npy").unlink()
    elif how == "facts":
        (there / "panel.json").write_text("{")
    else:
        text = (there / "panel.json").read_text()
        (there / "panel.json").write_text(text.replace('"forward_fill": 0', '"forward_fill": 1'))
    with pytest.raises(
        UserError, match=rf"{panel.name[:12]} on the shelf file://.* is damaged.*remove {re.escape(str(there))}"
    ):
        shelf.get(panel.name, tmp_path / "panels")
    assert not list((tmp_path / "panels").iterdir())


def test_a_damaged_panel_of_ours_goes_on_no_shelf(panel: Path, folder: Path) -> None:
    np.save(panel / "target.npy", np.load(panel / "target.npy") + 1)
    with pytest.raises(UserError, match="is damaged and goes on no shelf"):
        shelf.put(panel)
    assert not list(folder.iterdir())


def test_a_damaged_panel_of_ours_is_replaced_and_a_whole_one_stays(panel: Path, folder: Path, tmp_path: Path) -> None:
    shelf.put(panel)
    (panel / "values.npy").unlink()
    opened = np.load(panel / "target.npy", mmap_mode="r")
    assert shelf.get(panel.name, panel.parent) and content_digest(panel) == panel.name
    assert float(opened[8]) == 1.0  # who reads it keeps what it has opened
    inode = panel.stat().st_ino
    assert shelf.get(panel.name, panel.parent) and panel.stat().st_ino == inode


def test_many_at_once_put_and_fetch_one_panel(panel: Path, folder: Path, tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def both(number: int) -> None:
        try:
            shelf.put(panel)
            assert shelf.get(panel.name, tmp_path / "panels")
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=both, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == [] and contents(folder / "panels" / panel.name) == contents(panel)
    assert [path.name for path in (tmp_path / "panels").iterdir()] == [panel.name]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("shelf", "that is no address of a shelf: write s3://bucket/folder"),
        ("file://relative/shelf", "that is no address of a shelf"),
        ("file:///no/such/folder", "there is no folder /no/such/folder: make it, or mount what it lies on"),
        ("https://host/shelf", "that is no address of a shelf"),
        ("s3://", "the address names no bucket"),
        ("s3://bucket/shelf?endpoint_override=host", "what follows the . is said by the environment"),
        (f"s3://key:{SECRET}@bucket/shelf", "there is a password or a key in this address"),
    ],
)
def test_what_is_no_shelf_is_refused_before_anything_is_read(address: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_SHELF", address)
    with pytest.raises(UserError, match=told) as caught:
        shelf.shelf()
    assert "LAGLINE_SHELF" in str(caught.value) and SECRET not in str(caught.value)


def test_a_store_that_does_not_answer_is_told_in_one_message(
    panel: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGLINE_SHELF", "s3://no-such-bucket/x")
    with pytest.raises(UserError, match=r"the shelf s3://no-such-bucket/x \(LAGLINE_SHELF\): there is no such bucket"):
        shelf.get(panel.name, tmp_path / "panels")
    with pytest.raises(UserError, match="there is no such bucket"):
        shelf.put(panel)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for call in (lambda: shelf.put(panel), lambda: shelf.get(panel.name, tmp_path / "panels")):
        with pytest.raises(Unavailable, match=r"LAGLINE_SHELF\): it cannot be reached") as caught:
            call()
        assert SECRET not in str(caught.value)


def test_the_panel_of_a_version_comes_from_the_shelf_or_the_message_names_it(
    house: Any, panel: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = house.made().fingerprint | {"data": panel.name}
    facts = house.facts(trained_on=house.made(fingerprint=fingerprint))
    version, other = Version("story", "1", "run", "digest", Path("nowhere"), facts), tmp_path / "other"
    with pytest.raises(UserError, match=r"are not in .*panels, nor on the shelf file://.*LAGLINE_SHELF\): run python -m flows"):
        panel_of(version, other)
    shelf.put(panel)
    found = panel_of(version, other)
    assert found.digest == panel.name and found.folder == other / "panels" / panel.name
    (other / "panels" / panel.name / "values.npy").write_bytes(b"")
    assert isinstance(panel_of(version, other), Panel)
    monkeypatch.delenv("LAGLINE_SHELF")
    (other / "panels" / panel.name / "values.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"is damaged.*set LAGLINE_SHELF to the shelf that has it"):
        panel_of(version, other)


READ = """
import pickle, sys
assert not any(name.split(".")[0] in ("tasks", "models", "params") for name in sys.modules)
read = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps({name: content.tobytes() for name, content in read().items()}))
"""


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_another_machine_reads_a_panel_without_code_of_ours(
    where: str, panel: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One that has numpy and pyarrow, and the credentials in its environment."""
    assert shelf.reader(panel) is None
    request.getfixturevalue(where)
    assert shelf.reader(panel) is None  # it is not there yet
    shelf.put(panel)
    read = shelf.reader(panel)
    assert read is not None
    sent = cloudpickle.dumps(read)
    assert SECRET.encode() not in sent
    done = subprocess.run([sys.executable, "-c", READ], input=sent, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert pickle.loads(done.stdout) == contents(panel)
    if where == "folder":
        shutil.rmtree(tmp_path / "the shelf")
        with pytest.raises(PermissionError, match="cannot read the shelf file://"):
            read()
