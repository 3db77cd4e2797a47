"""The verb variants."""

import json
import shutil
from pathlib import Path

import pytest

import flows.verbs.variants
import params.load

ROOT = Path(__file__).resolve().parents[3]


def test_a_yaml_alone_makes_a_new_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    shutil.copytree(ROOT / "params", tmp_path / "params")
    for path in (tmp_path / "params" / "variants").iterdir():  # each that is listed is built
        if path.stem != "gru":
            path.unlink()
    text = "family: recurrent\nabout: a GRU with twice the memory\nnetwork: {cell: gru, hidden_size: 64}\n"
    (tmp_path / "params" / "variants" / "wide_gru.yaml").write_text(text)
    monkeypatch.setattr(params.load, "PARAMS", tmp_path / "params")
    flows.verbs.variants.show_variants(as_json=True)
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    # by hand: three gates of 64 units over 19 inputs, 64 states, 2 biases; the head gives 24 steps of point and 13 quantiles;
    # the ridge beside them
    assert listed["wide_gru"]["parameters"] == 3 * 64 * (19 + 64 + 2) + 24 * 14 * (64 + 1) + 24 * (72 * 19 + 1)
    assert set(listed) == {"gru", "wide_gru"}
    assert listed["wide_gru"]["about"] == "a GRU with twice the memory" and listed["wide_gru"]["receptive_field"] == 72
