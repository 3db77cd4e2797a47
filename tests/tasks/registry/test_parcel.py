"""A version as a file: out of one store, into another, byte for byte; nothing that is not what its seal says comes in."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from params.errors import UserError
from tasks.prune import prune
from tasks.registry.load import opened
from tasks.registry.parcel import export, import_
from tasks.registry.unseen import panel_of
from tasks.registry.versions import needed
from tasks.tracking import connection
from tests.marks import OF_IMPORTS, STORE
from tests.tasks.registry.test_register import Home

pytestmark = [*STORE, OF_IMPORTS]


@pytest.fixture(scope="module")
def sent(module_store: Path, house: Any) -> Path:
    """The file of a registered baseline `theta`, version 1."""
    home = Home(module_store, house)
    home.register("theta", home.parent("theta", 1, "theta"), home.found("theta"))
    told = export(needed("theta", "1"), module_store, module_store / "theta.lagline")
    assert (told.name, told.version, told.panel) == ("theta", "1", house.panel.digest)
    return module_store / "theta.lagline"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a store with nothing in it, made once: that takes seconds."""
    home = tmp_path_factory.mktemp("tables")
    with speaking_to(home):
        return home / "mlflow.db"


@contextmanager
def speaking_to(home: Path) -> Iterator[None]:
    """Our client speaks to the store of a home for the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_REGISTRY_URI", raising=False)  # mlflow sets it to the store before
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        connection.client.cache_clear()
        connection.connect(home)
        yield
        connection.client.cache_clear()


@pytest.fixture
def other(sent: Path, tables: Path, tmp_path: Path) -> Iterator[Path]:
    """A home with a store of its own, to which our client speaks."""
    home = tmp_path / "other"
    (home / "panels").mkdir(parents=True)
    shutil.copy(tables, home)
    with speaking_to(home):
        yield home


def test_a_version_comes_whole_and_once_with_its_panel(sent: Path, other: Path, house: Any) -> None:
    found, again = import_(sent, other), import_(sent, other)
    assert (found.registered.version, found.registered.new, again.registered.new) == ("1", True, False)
    assert found.told == again.told
    version = needed("theta", "challenger")
    with opened(version, servable=True) as there:
        panel = panel_of(there, other)
        assert panel.digest == house.panel.digest and panel.folder.parent == other / "panels"
        assert np.array_equal(panel.target, house.panel.target, equal_nan=True)
        with zipfile.ZipFile(sent) as given:
            names = {name.removeprefix("version/") for name in given.namelist() if name.startswith("version/")}
            files = {str(path.relative_to(there.root)): path.read_bytes() for path in there.root.rglob("*") if path.is_file()}
            assert files == {name: given.read(f"version/{name}") for name in names}  # MLflow's own files too
    assert version.tags["seal"] == found.told.seal and version.tags["imported_version"] == "1"
    assert "seed" not in version.tags and version.tags["val_mae"] == "1" and version.tags["variant"] == "theta"
    run = connection.client().get_run(version.run_id)
    assert run.data.tags["kind"] == "import" and run.data.metrics["val_mae"] == 1.0 and run.info.status == "FINISHED"


def test_the_same_version_gives_the_same_bytes_also_from_where_it_was_imported(sent: Path, other: Path, tmp_path: Path) -> None:
    import_(sent, other)
    export(needed("theta", "1"), other, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == sent.read_bytes()


def test_prune_keeps_the_panel_of_an_imported_version(sent: Path, other: Path) -> None:
    import_(sent, other)
    assert prune(other, 0).paths == ()
    connection.client().delete_model_version("theta", "1")
    assert [path.parent.name for path, _ in prune(other, 0).paths] == ["panels"]


def test_what_names_a_panel_that_is_gone_is_not_written(sent: Path, other: Path, tmp_path: Path) -> None:
    import_(sent, other)
    (panel,) = (other / "panels").iterdir()
    panel.rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"are not in .*panels"):
        export(needed("theta", "1"), other, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def rewritten(sent: Path, file: Path, change: Callable[[dict[str, bytes]], Any], how: int = zipfile.ZIP_STORED) -> Path:
    """The file with its members changed."""
    with zipfile.ZipFile(sent) as given:
        members = {name: given.read(name) for name in given.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w", how) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file


def _export_json(members: dict[str, bytes], **changes: Any) -> None:
    members["export.json"] = json.dumps(json.loads(members["export.json"]) | changes).encode()


def _flip(members: dict[str, bytes], ending: str) -> None:
    name = next(name for name in members if name.endswith(ending))
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


FORGED = {
    "a changed file": (lambda m: _flip(m, "model.json"), "model.json has changed"),
    "a changed MLmodel": (lambda m: _flip(m, "version/MLmodel"), "MLmodel has changed"),
    "a longer file": (lambda m: m.update({"version/MLmodel": m["version/MLmodel"] + b" "}), "another size than its seal says"),
    "a changed seal": (lambda m: _flip(m, "seal.json"), "seal.json is not the one that was registered"),
    "a changed panel": (lambda m: _flip(m, "panel/target.npy"), "its panel is damaged"),
    "a missing file": (lambda m: m.pop("panel/times.npy"), "panel/times.npy is missing"),
    "no seal": (lambda m: m.pop("version/seal.json"), "version/seal.json is missing"),
    "nothing told": (lambda m: m.pop("export.json"), "export.json is missing"),
    "a way out": (lambda m: m.update({"version/../../evil": b"x"}), "evil is extra"),
    "an absolute path": (lambda m: m.update({"/tmp/evil": b"x"}), "evil is extra"),
    "another name": (lambda m: _export_json(m, name="gru"), "export.json is of another version"),
    "a name that none may have": (lambda m: _export_json(m, name="../x"), "export.json says something else"),
    "another panel": (lambda m: _export_json(m, panel="0" * 64), "export.json is of another version"),
    "a newer layout": (lambda m: _export_json(m, layout=2), "export.json says something else"),
    "more than is known": (lambda m: _export_json(m, run="x"), "export.json says something else"),
    "facts that are none": (lambda m: m.update({"panel/panel.json": b"{"}), "panel.json cannot be read"),
    "facts that list nothing": (lambda m: m.update({"panel/panel.json": b"[]"}), "panel.json cannot be read"),
    "too much": (lambda m: m.update({"export.json": b" " * (1 << 21)}), "export.json is too large"),
}


@pytest.mark.parametrize("how", FORGED)
def test_what_is_not_what_its_seal_says_leaves_nothing_behind(how: str, sent: Path, other: Path, tmp_path: Path) -> None:
    change, told = FORGED[how]
    before = {path for path in other.rglob("*") if "mlflow.db" not in path.name}
    with pytest.raises(UserError, match=f"that is no export of lagline, or it is damaged .*{told}.*nothing was imported"):
        import_(rewritten(sent, tmp_path / "forged", change), other)
    assert {path for path in other.rglob("*") if "mlflow.db" not in path.name} == before
    assert connection.client().search_registered_models() == []


def resealed(members: dict[str, bytes], change: Callable[[dict[str, bytes]], Any]) -> None:
    """The change of a sender who makes manifest and seal anew."""
    change(members)
    bundle = next(name for name in members if name.endswith("/manifest.json")).removesuffix("manifest.json")
    manifest = json.loads(members[f"{bundle}manifest.json"])
    manifest["files"] = {name: _said_of(members[f"{bundle}{name}"]) for name in manifest["files"]}
    members[f"{bundle}manifest.json"] = json.dumps(manifest).encode()
    sealed = json.loads(members["version/seal.json"])
    sealed["files"] = {name: _said_of(members[f"version/{name}"]) for name in sealed["files"]}
    members["version/seal.json"] = json.dumps(sealed).encode()
    _export_json(members, seal=hashlib.sha256(members["version/seal.json"]).hexdigest())


def _said_of(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _own(members: dict[str, bytes]) -> None:
    for name in members:
        if name.endswith(".py"):
            members[name] += b"\n# of somebody else\n"


def test_code_that_is_not_of_this_checkout_is_told_and_never_what_mlflow_would_run_in_its_place(
    sent: Path, other: Path, tmp_path: Path
) -> None:
    assert import_(sent, other).own_code

    def another(members: dict[str, bytes]) -> None:
        members["version/MLmodel"] = members["version/MLmodel"].replace(b"loader_module: ", b"loader_module: os #")

    with pytest.raises(UserError, match="MLmodel does not say what was registered"):
        import_(rewritten(sent, tmp_path / "a", lambda members: resealed(members, another)), other)
    found = import_(rewritten(sent, tmp_path / "b", lambda members: resealed(members, _own)), other)
    assert not found.own_code and not found.registered.new  # the same fit, which is there


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_packed_member_is_not_unpacked(how: int, sent: Path, other: Path, tmp_path: Path) -> None:
    """A small file would fill the disk."""
    with pytest.raises(UserError, match="is packed, which no export does"):
        import_(rewritten(sent, tmp_path / "packed", lambda members: None, how), other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all" * 1000])
def test_a_file_that_is_none_of_ours_is_refused(content: bytes, other: Path, tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(content)
    with pytest.raises(UserError, match="that is no export of lagline"):
        import_(tmp_path / "some", other)


def test_half_a_file_is_refused(sent: Path, other: Path, tmp_path: Path) -> None:
    content = sent.read_bytes()
    (tmp_path / "half").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="that is no export of lagline"):
        import_(tmp_path / "half", other)
