"""models/serving.py: archives of torch.export that would run a command are refused unopened; honest ones are loaded."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from models import serving


class Command:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class Double(torch.nn.Module):
    """Twice its input, for any batch."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.full((1,), 2.0))

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return torch.cat((past * self.factor, past), dim=1).flatten()


@pytest.fixture(scope="module")
def archive() -> dict[str, bytes]:
    """Member -> content of an honest archive."""
    with torch.no_grad():
        program = torch.export.export(Double(), (torch.zeros(2, 3),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    program.example_inputs = None
    for node in program.graph_module.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key == "val"}
    program._guards_code = []
    content = io.BytesIO()
    torch.export.save(program, content)
    with zipfile.ZipFile(content) as members:
        return {name: members.read(name) for name in members.namelist()}


def pack(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return content.getvalue()


def pickled(marker: Path) -> bytes:
    content = io.BytesIO()
    torch.save(Command(marker), content)
    return content.getvalue()


def with_pickled_weight(members: dict[str, bytes], marker: Path) -> dict[str, bytes]:
    config = json.loads(members["archive/data/weights/model_weights_config.json"])
    for entry in config["config"].values():
        entry["use_pickle"] = True
    text = json.dumps(config).encode()
    return {"archive/data/weights/model_weights_config.json": text, "archive/data/weights/weight_0": pickled(marker)}


def with_object(members: dict[str, bytes], marker: Path) -> dict[str, bytes]:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    text = json.dumps({"config": {"thing": entry}}).encode()
    return {
        "archive/data/constants/model_constants_config.json": text,
        "archive/data/constants/opaque_obj_0": pickle.dumps(Command(marker)),
    }


def with_program(change: Callable[[dict[str, Any], Path], None]) -> Callable[[dict[str, bytes], Path], dict[str, bytes]]:
    def apply(members: dict[str, bytes], marker: Path) -> dict[str, bytes]:
        program = json.loads(members["archive/models/model.json"])
        change(program, marker)
        return {"archive/models/model.json": json.dumps(program).encode()}

    return apply


def evil_size(program: dict[str, Any], marker: Path) -> None:
    code = f"__import__('pathlib').Path({str(marker)!r}).touch() or 4"

    def change(node: Any) -> None:
        for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            if isinstance(below, dict) and "expr_str" in below:
                below["expr_str"] = code
            change(below)

    change(program)


def evil_guard(program: dict[str, Any], marker: Path) -> None:
    program["guards_code"] = [f"__import__('pathlib').Path({str(marker)!r}).touch() is None"]


def evil_call(program: dict[str, Any], marker: Path) -> None:
    node = program["graph_module"]["graph"]["nodes"][0]
    node["target"] = "torchx.os.system"  # torch only looks at the first five letters
    node["inputs"] = [{"name": "", "arg": {"as_string": f"touch {marker}"}, "kind": 1}]


CRAFTED: dict[str, Callable[[dict[str, bytes], Path], dict[str, bytes]]] = {
    "sample inputs": lambda members, marker: {"archive/data/sample_inputs/model.pt": pickled(marker)},
    "old weights": lambda members, marker: {"archive/data/weights/model.pt": pickled(marker)},
    "a weight": with_pickled_weight,
    "an object": with_object,
    "a size": with_program(evil_size),
}


def test_an_honest_archive_is_loaded(archive: dict[str, bytes]) -> None:
    graph = serving.open_graph(pack(archive))
    for size in (1, 2, 300):
        torch.testing.assert_close(graph(torch.ones(size, 3)), torch.tensor([2.0, 2, 2, 1, 1, 1]).repeat(size))


@pytest.mark.parametrize("case", CRAFTED)
def test_an_archive_that_runs_a_command_is_refused_before_it_is_loaded(
    case: str, archive: dict[str, bytes], tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    content = pack(archive | CRAFTED[case](archive, marker))
    with pytest.raises(ValueError, match=r"graph.pt2 is refused: .* could run code"):
        serving.open_graph(content)
    assert not marker.exists()
    with suppress(Exception):  # torch itself runs the command: the archive is a real one
        graph = torch.export.load(io.BytesIO(content)).module()
        graph(torch.ones(2, 3))
    assert marker.exists()


@pytest.mark.parametrize("change", [evil_guard, evil_call])
def test_a_guard_and_a_call_of_anything_but_aten_are_refused(
    change: Callable[[dict[str, Any], Path], None], archive: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"the (guards_code|target) .* could run code"):
        serving.open_graph(pack(archive | with_program(change)(archive, tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bytes(1000), pickle.dumps([1])])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"graph.pt2 is refused"):
        serving.open_graph(content)


def test_an_extra_or_repeated_member_is_refused(archive: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="aotinductor"):
        serving.open_graph(pack(archive | {"archive/data/aotinductor/model/model.so": b"x"}))
    content = io.BytesIO(pack(archive))
    with zipfile.ZipFile(content, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/models/model.json", archive["archive/models/model.json"])
    with pytest.raises(ValueError, match=r"models/model.json"):
        serving.open_graph(content.getvalue())
