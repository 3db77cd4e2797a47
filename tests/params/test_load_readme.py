"""params/load.py: the run file that README.md shows is one, and README.md stays short enough to be read."""

import re
from pathlib import Path

from params.load import load_plan

README = Path(__file__).resolve().parents[2] / "README.md"
MOST_LINES, MOST_COLUMNS = 130, 110


def test_the_run_file_of_the_readme_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(text.splitlines()) <= 12
    (tmp_path / "sales.yaml").write_text(text, encoding="utf-8")
    plan = load_plan(tmp_path / "sales.yaml")
    assert list(plan.variants) == ["ridge", "gru", "cnn", "ensemble_greedy"]
    assert plan.run.windows.features["price"].delay == 1


def test_the_readme_is_read_on_a_screen() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > MOST_COLUMNS] == []
    assert any("docs/images/" in line for line in lines[:20])
