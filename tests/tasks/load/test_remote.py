"""Tables in an object store and on the web (tasks/load/remote.py, stores.py, web.py): the same rows and digest as on this disk.

The store is moto's server and the web one of Python's, both real servers on loopback.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from moto.server import ThreadedMotoServer

from params.data import DataParams
from params.errors import UserError
from tasks.load.source import look_into, open_source, scan_series

SECRET = "s3cr3t-of-the-store"
CSV = "id,ts,v\na,2024-01-01 00:00,1\na,2024-01-01 01:00,2\n"


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """What the environment says of a store with a bucket `lake`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET,
    }  # fmt: skip
    yield variables
    server.stop()


@pytest.fixture
def lake(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the store, which this process finds in its environment."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=store["AWS_ENDPOINT_URL"], region_name="us-east-1")
    client.create_bucket(Bucket="lake")
    yield client
    client.close()


def params(path: str, **more: Any) -> DataParams:
    return DataParams(path=path, **{"id": "id", "time": "ts", "target": "v", "frequency": "1h", **more})


def rows_of(path: str, **more: Any) -> list[tuple[Any, ...]]:
    return scan_series(open_source(params(path, **more)), []).sort("unique_id", "ds").collect().rows()


def put(client: Any, folder: Path, prefix: str) -> None:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            client.upload_file(str(file), "lake", f"{prefix}/{file.relative_to(folder).as_posix()}")


def frame(shop: str, rows: int = 3) -> pl.DataFrame:
    times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1, rows - 1), "1h", eager=True)
    return pl.DataFrame({"id": [shop] * rows, "ts": times, "v": [float(i) for i in range(rows)]})


def test_files_folders_and_patterns_of_a_store_are_those_of_a_disk(lake: Any, tmp_path: Path) -> None:
    (tmp_path / "shop=a/deep").mkdir(parents=True)
    (tmp_path / "shop=b").mkdir()
    frame("x").write_parquet(tmp_path / "shop=a/p.parquet")
    frame("y").write_parquet(tmp_path / "shop=b/p.parquet")
    frame("z").write_parquet(tmp_path / "shop=a/deep/p.parquet")  # in no folder of its column
    frame("w").write_csv(tmp_path / "one.csv")
    (tmp_path / "notes.txt").write_text("no table")
    put(lake, tmp_path, "sales")
    for path, more in (
        ("shop=a/p.parquet", {}), ("one.csv", {}), ("shop=*/*.parquet", {"id": "shop"}), ("shop=a", {"id": "shop"}),
        ("**/shop=?/p.parquet", {}), ("*.csv", {}),
    ):  # fmt: skip
        here, there = rows_of(f"{tmp_path}/{path}", **more), rows_of(f"s3://lake/sales/{path}", **more)
        assert here == there
        assert len(here) >= 3
        assert open_source(params(f"{tmp_path}/{path}")).digest == open_source(params(f"s3://lake/sales/{path}")).digest


def test_what_a_store_does_not_give_is_said_without_a_secret(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.put_object(Bucket="lake", Key="empty/notes.txt", Body=b"x")
    for path, words in (
        ("s3://lake/none.csv", "there is no such object"),
        ("s3://lake/empty", "there is no such object, nor tables below it"),
        ("s3://lake/none/*.csv", "no object matches this pattern"),
        ("s3://no-such-bucket/x.csv", "there is no such (object|bucket)"),
        ("s3://no-such-bucket/*.csv", r"no object matches this pattern \(is the bucket right"),
        ("s3://lake/empty/notes.txt", r"cannot tell what kind of table this is"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            open_source(params(path))
        assert SECRET not in str(caught.value)
        assert path in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"data\.path s3://lake/away\.csv: it cannot be reached: is there a network"):
        open_source(params("s3://lake/away.csv"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(UserError, match="set AWS_ALLOW_HTTP=true"):
        open_source(params("s3://lake/plain.csv"))


def test_a_fault_in_a_table_names_its_address(lake: Any) -> None:
    lake.put_object(Bucket="lake", Key="bad/x.csv", Body=b"id,ts,v\na,2024-01-01\n")
    lake.put_object(Bucket="lake", Key="semi/x.csv", Body=CSV.replace(",", ";").encode())
    with pytest.raises(UserError, match=r"^s3://lake/bad/x\.csv:2: this row does not have the 3 fields"):
        open_source(params("s3://lake/bad"))
    with pytest.raises(UserError, match=r"^s3://lake/semi/x\.csv: there is no column 'id'.*csv: \{separator: \";\"\} under"):
        scan_series(open_source(params("s3://lake/semi")), [])
    seen = look_into(params("s3://lake/semi"))
    assert seen.data.csv is not None
    assert seen.tables[0].name == "s3://lake/semi/x.csv"


@pytest.mark.parametrize("ending", ["arrow", "feather", "ipc"])
def test_arrow_files_streams_and_feather_of_pandas(tmp_path: Path, ending: str) -> None:
    frame("a").write_ipc(tmp_path / f"1.{ending}", compression="zstd")
    frame("b").write_ipc_stream(tmp_path / f"2.{ending}")
    frame("c").to_pandas().to_feather(tmp_path / f"3.{ending}")
    assert [row[0] for row in rows_of(str(tmp_path))] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    (tmp_path / f"4.{ending}").write_bytes(b"ARROW1 and nothing")
    with pytest.raises(UserError, match=rf"4\.{ending}: this file cannot be read"):
        open_source(params(str(tmp_path)))


def test_a_delta_table_is_read_at_its_newest_version_here_and_in_a_store(lake: Any, tmp_path: Path) -> None:
    folder = tmp_path / "delta"
    write_deltalake(folder, frame("gone"))
    write_deltalake(
        folder, pl.concat([frame("ä/1"), frame("b")]), mode="overwrite", schema_mode="overwrite", partition_by=["id"]
    )
    expected = [("b", 0.0), ("b", 1.0), ("b", 2.0), ("ä/1", 0.0), ("ä/1", 1.0), ("ä/1", 2.0)]
    assert [(row[0], row[2]) for row in rows_of(str(folder))] == expected
    put(lake, folder, "delta")
    assert [(row[0], row[2]) for row in rows_of("s3://lake/delta")] == expected
    here, there = open_source(params(str(folder))), open_source(params("s3://lake/delta"))
    assert (here.digest.sha256, here.digest.bytes) == (there.digest.sha256, there.digest.bytes)
    assert there.tables[0].name == "s3://lake/delta (version 1)"
    DeltaTable(folder).delete("id = 'b'")
    again = open_source(params(str(folder)))
    assert again.digest.sha256 != here.digest.sha256
    assert len(scan_series(again, []).collect()) == 3


def test_a_delta_table_that_names_files_elsewhere_is_not_read(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "delta", frame("a"))
    write_deltalake(tmp_path / "other", frame("b"))
    (log,) = (tmp_path / "delta/_delta_log").glob("*.json")
    (inside,) = (tmp_path / "delta").glob("*.parquet")
    (outside,) = (tmp_path / "other").glob("*.parquet")
    for path in (f"../other/{outside.name}", f"..%2Fother%2F{outside.name}", f"file://{outside}"):
        log.write_text(log.read_text().replace(inside.name, path))
        with pytest.raises(UserError, match=r"delta: .*(a file outside of its folder|cannot be read)"):
            rows_of(str(tmp_path / "delta"))
        log.write_text(log.read_text().replace(path, inside.name))


@dataclass
class Answer:
    """What a path of the small web server answers."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Web(BaseHTTPRequestHandler):
    """Answers by the path without its query; keeps the headers that it was asked with."""

    def __init__(self, answers: dict[str, Answer], asked: list[dict[str, str]], *rest: Any) -> None:
        self.answers, self.asked = answers, asked
        super().__init__(*rest)

    def do_GET(self) -> None:  # the name that the server calls
        self.asked.append(dict(self.headers))
        answer = self.answers.get(self.path.partition("?")[0], Answer(status=404))
        self.send_response(answer.status)
        names = [name for name, _ in answer.headers]
        for name, value in (
            *answer.headers,
            *([] if "Content-Length" in names else [("Content-Length", str(len(answer.body)))]),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, Answer], list[dict[str, str]]]]:
    answers: dict[str, Answer] = {}
    asked: list[dict[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Web, answers, asked))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", answers, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_of_the_web(web: Any, tmp_path: Path) -> None:
    base, answers, _ = web
    frame("a").write_parquet(tmp_path / "x.parquet")
    answers |= {
        "/d/x.parquet": Answer((tmp_path / "x.parquet").read_bytes()),
        "/x.csv": Answer(CSV.encode()),
        "/export": Answer(CSV.encode(), headers=(("Content-Type", "text/csv; charset=utf-8"),)),
        "/named": Answer(CSV.encode(), headers=(("Content-Disposition", 'attachment; filename="../../t.csv"'),)),
        "/moved.csv": Answer(status=302, headers=(("Location", "/x.csv"),)),
    }
    assert len(rows_of(f"{base}/d/x.parquet")) == 3
    for path in ("/x.csv", "/export?format=csv", "/named", "/moved.csv"):
        assert [row[2] for row in rows_of(base + path)] == ["1", "2"]
    source = open_source(params(f"{base}/x.csv"))
    assert source.tables[0].name == f"{base}/x.csv"
    inner = hashlib.sha256(CSV.encode()).hexdigest()
    assert source.digest.sha256 == hashlib.sha256(f"x.csv\0{inner}\n".encode()).hexdigest()


def test_what_the_web_does_not_give_is_said(web: Any) -> None:
    base, answers, _ = web
    answers |= {
        "/cut.csv": Answer(CSV.encode(), headers=(("Content-Length", "9999"),)),
        "/no.csv": Answer(status=403),
        "/page": Answer(b"<html>", headers=(("Content-Type", "text/html"),)),
    }
    for path, words in (
        ("/none.csv", "there is no such file"), ("/no.csv", "access is denied"), ("/cut.csv", "ended after"),
        ("/page", "nothing tells what kind of table"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            open_source(params(base + path))


def test_an_address_that_is_a_secret_comes_from_the_environment_and_is_never_shown(
    web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, answers, asked = web
    answers["/x.csv"] = Answer(CSV.encode())
    monkeypatch.setenv("SIGNED", f"{base.replace('//', '//user:pass-w0rd@')}/x.csv?X-Amz-Signature=abcdef0123456789")
    assert len(rows_of("env:SIGNED")) == 2
    assert asked[-1]["Authorization"].startswith("Basic ")
    source = open_source(params("env:SIGNED"))
    assert "abcdef" not in repr(source) + repr(source.digest)
    answers["/x.csv"] = Answer(CSV.replace("v\n", "v;\n").encode() + b"1\n")
    monkeypatch.setenv("SIGNED", f"{base}/x.csv?X-Amz-Signature=abcdef0123456780")
    with pytest.raises(UserError, match=r"^env:SIGNED x\.csv:4: this row") as caught:
        open_source(params("env:SIGNED"))
    assert "abcdef" not in str(caught.value)
    monkeypatch.setenv("SIGNED", f"{base}/none.csv?X-Amz-Signature=abcdef0123456781")
    with pytest.raises(UserError, match=r"data\.path env:SIGNED: there is no such file") as caught:
        open_source(params("env:SIGNED"))
    assert "abcdef" not in str(caught.value)
    monkeypatch.setenv("SIGNED", "")
    with pytest.raises(UserError, match="the environment variable SIGNED holds no address"):
        open_source(params("env:SIGNED"))


def test_nothing_of_a_mirror_stays_open_to_others(lake: Any) -> None:
    lake.put_object(Bucket="lake", Key="own/x.csv", Body=CSV.encode())
    file = open_source(params("s3://lake/own/x.csv")).tables[0].file
    top = next(folder for folder in file.parents if folder.name.startswith("lagline-mirror-"))
    assert top.stat().st_mode & 0o077 == 0
    assert os.path.commonpath([file, top]) == str(top)
