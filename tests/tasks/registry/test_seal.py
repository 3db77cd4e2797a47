"""The outer seal: every way in which a folder may differ from the sealed one is refused by name, before it is opened."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.registry.seal import ADDED, SEAL, Broken, Entry, Seal, entries, write
from tests.tree import write_tree


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, str]:
    """A folder as MLflow makes one, and the digest of its seal."""
    folder = tmp_path / "version"
    names = ("MLmodel", "conda.yaml", "code/serving.py", "data/bundle/model.json", "data/bundle/code/serving.py")
    write_tree(folder, {name: f"the content of {name}" for name in names})
    return folder, write(folder)


def check(folder: Path, digest: str) -> None:
    Seal.read((folder / SEAL).read_bytes(), digest).check(folder)


def test_a_folder_as_it_was_sealed_is_whole_and_so_is_one_that_mlflow_has_fetched(sealed: tuple[Path, str]) -> None:
    check(*sealed)
    (sealed[0] / ADDED).write_text("model_name: x")
    check(*sealed)
    assert hashlib.sha256((sealed[0] / SEAL).read_bytes()).hexdigest() == sealed[1]


def plant(name: str, text: str = "x") -> Callable[[Path], None]:
    def planted(folder: Path) -> None:
        write_tree(folder, {name: text})

    return planted


def move_aside(name: str, put: Callable[[Path, Path], object]) -> Callable[[Path], None]:
    """What was at `name` lies elsewhere, and `put` makes something in its place."""

    def moved(folder: Path) -> None:
        (folder / name).rename(folder.parent / "aside")
        put(folder / name, folder.parent / "aside")

    return moved


DAMAGE = {
    "bytecode": (plant("code/__pycache__/serving.cpython-311.pyc"), r"code/__pycache__/serving\.cpython-311\.pyc is extra"),
    "a module": (plant("code/mlflow.py"), r"code/mlflow\.py is extra"),
    "a .pth": (plant("code/evil.pth"), r"code/evil\.pth is extra"),
    "a file of MLflow's": (plant("requirements.txt"), r"requirements\.txt is extra"),
    "a hidden file": (plant(".artifact.uploading.x"), r"\.artifact\.uploading\.x is extra"),
    "another case": (plant("mlmodel"), r"mlmodel is extra"),
    "a control character": (plant("code/\x1b[2Jx.py"), r"'code/\\x1b\[2Jx\.py' is extra"),
    "what is no text": (lambda folder: (folder / os.fsdecode(b"\xff.py")).touch(), r"'\\udcff\.py' is extra"),
    "an empty folder": (lambda folder: (folder / "data/new").mkdir(), r"data/new/ is extra"),
    "a long name": (plant("y" * 250), r"y+ is extra"),
    "changed, of one size": (plant("MLmodel", "THE content of MLmodel"), r"MLmodel has changed"),
    "cut off": (lambda folder: os.truncate(folder / "MLmodel", 3), r"MLmodel has changed"),
    "empty": (lambda folder: os.truncate(folder / "data/bundle/model.json", 0), r"data/bundle/model\.json has changed"),
    "huge": (lambda folder: os.truncate(folder / "conda.yaml", 2**40), r"conda\.yaml has changed"),
    "missing": (lambda folder: (folder / "code/serving.py").unlink(), r"code/serving\.py is missing"),
    "a link to the same": (move_aside("MLmodel", lambda to, aside: to.symlink_to(aside)), r"MLmodel is not a plain file"),
    "a link to a folder": (move_aside("data", lambda to, aside: to.symlink_to(aside)), r"data is not a plain file or folder"),
    "a link to nothing": (lambda folder: (folder / "x.py").symlink_to("nowhere"), r"x\.py is extra"),
    "a link that goes round": (lambda folder: (folder / "data/up").symlink_to(".."), r"data/up is extra"),
    "a folder for a file": (move_aside("MLmodel", lambda to, aside: to.mkdir()), r"MLmodel/ is extra"),
    "a file for a folder": (move_aside("code", lambda to, aside: to.write_text("x")), r"code has changed"),
    "a pipe": (move_aside("conda.yaml", lambda to, aside: os.mkfifo(to)), r"conda\.yaml is not a plain file"),
    "a folder of MLflow's name": (plant(f"{ADDED}/evil.py"), rf"{ADDED}/evil\.py is extra"),
    "a link of MLflow's name": (lambda folder: (folder / ADDED).symlink_to("MLmodel"), rf"{ADDED} is not a plain file"),
    "a huge file of MLflow's name": (lambda folder: os.truncate(shutil.copy(folder / SEAL, folder / ADDED), 2**40), ADDED),
    "another seal": (lambda folder: (folder / SEAL).write_text('{"layout": 1, "files": {}}'), r"seal\.json is not the one"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_differs_is_refused_by_name(sealed: tuple[Path, str], damage: str) -> None:
    harm, told = DAMAGE[damage]
    harm(sealed[0])
    with pytest.raises(Broken, match=f"^{told}"):
        check(*sealed)


LISTED = '{"layout": 1, "files": {%s: {"sha256": "' + "0" * 64 + '", "bytes": %s}}}'
LISTS = {
    "no JSON": "files",
    "nothing": "",
    "no object": "[]",
    "no files": '{"layout": 1, "files": {}}',
    "another layout": '{"layout": 2, "files": {"a": {"sha256": "' + "0" * 64 + '", "bytes": 1}}}',
    "too deep": "[" * 100_000,
    "no text": "\x00\xff",
    "a size below zero": LISTED % ('"a"', -1),
    "a size that is none": LISTED % ('"a"', '"1"'),
    "a size that is no whole one": LISTED % ('"a"', "1.5"),
    "true for a size": LISTED % ('"a"', "true"),
    "too large": LISTED % ('"a"', 10**15),
    "no number": LISTED % ('"a"', "NaN"),
    "no digest": LISTED.replace("0" * 64, "0" * 63) % ('"a"', 1),
    "a digest in capitals": LISTED.replace("0" * 64, "A" * 64) % ('"a"', 1),
    "too many": json.dumps(
        {"layout": 1, "files": {str(n): {"sha256": "0" * 64, "bytes": 1} for n in range(1001)}}  # the most there may be and one
    ),
    **{
        f"the path {path!r}": LISTED % (json.dumps(path), 1)
        for path in (
            *("", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\x00", "a\nb", "a\x1b", "\ud800", "x" * 600),
            *(SEAL, SEAL.upper(), ADDED),
        )
    },
    "two that are one elsewhere": json.dumps(
        {"layout": 1, "files": {name: {"sha256": "0" * 64, "bytes": 1} for name in ("MLmodel", "mlmodel")}}
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_is_none_is_refused_though_its_digest_is_right(case: str) -> None:
    content = LISTS[case].encode("utf-8", "surrogatepass")
    with pytest.raises(Broken, match=r"^seal\.json (cannot be read|lists)"):
        Seal.read(content, hashlib.sha256(content).hexdigest())


def test_what_a_store_lists_is_looked_through_no_further_than_the_seal_reaches(sealed: tuple[Path, str]) -> None:
    """A store that has a folder in every folder, or names of its own."""
    seal, asked = Seal.read((sealed[0] / SEAL).read_bytes(), sealed[1]), []

    def endless(below: str) -> list[Entry]:
        asked.append(below)
        more = [Entry(f"{below}/more" if below else "more", folder=True)]
        return [*(entries(sealed[0], below) if (sealed[0] / below).exists() else []), *(more if below else [])]

    with pytest.raises(Broken, match=r"^(code|data|data/bundle|data/bundle/code)/more/ is extra"):
        seal.compare(endless)
    assert len(asked) < 50
    for path in ("../../etc/passwd", "/etc/passwd", "code/../MLmodel"):
        with pytest.raises(Broken, match="is extra"):
            seal.compare(lambda below, path=path: [Entry(path, 1)])  # type: ignore[misc]


def test_a_folder_with_a_link_in_it_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("x")
    (tmp_path / "more").symlink_to("MLmodel")
    with pytest.raises(Broken, match="more is not a plain file"):
        write(tmp_path)
