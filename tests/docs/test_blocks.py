"""README.md and docs: every block of code is read by the program that it is for, and names nothing that is not there.

What is run is in tests/flows/test_docs.py. The blocks that are not, and why: python -m pytest tests/docs -k listed -s
"""

import ast
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.__main__ import app
from params.evaluation import BASELINES
from params.load import load_plan, merge
from params.strict_yaml import parse_yaml
from tests.docs.blocks import CODE, PAGES, ROOT, SHOWN, Block, all_blocks, blocks_of

BLOCKS = all_blocks()
MOST_LINES, MOST_COLUMNS = 130, 110  # of README.md
SMOKE = ROOT / "params" / "smoke.yaml"


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def of(*languages: str) -> list[Any]:
    return [pytest.param(block, id=named(block)) for block in BLOCKS if block.language in languages]


def verbs() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)


def wrong(words: list[str]) -> str:
    """What `python -m flows` does not take of a command line, parsed without running it; empty if nothing."""
    words = [word for word in words if word != "--debug"]
    command = verbs().get(words[0]) if words else None
    if command is None:
        return f"no command {' '.join(words[:1])}"
    if "--help" in words:
        return ""
    try:
        _, rest, _ = command.make_parser(typer.Context(command)).parse_args(words[1:])
    except Exception as error:
        return str(error)
    least = sum(one.required for one in command.params if one.param_type_name == "argument")
    return f"what is {rest[0]}" if rest else "" if len(words) > least else "an argument is missing"


def as_a_run_file(block: Block) -> str:
    """A YAML block that is a run file; any other put into params/smoke.yaml, that of a variant's file as one of `define`."""
    tree, _ = parse_yaml(block.text, named(block))
    if "name" in tree:
        return block.text
    if {"about", "search"} & set(tree):  # of a variant's file
        like = {} if "ensemble" in tree else {"like": "gru", "about": "shown"}
        members = [one for one in tree.get("ensemble", []) if one not in BASELINES]
        tree = {"define": {"shown": like | tree}, "variants": [*members, "shown"]}
    smoke, _ = parse_yaml(SMOKE.read_text(encoding="utf-8"), str(SMOKE))
    return json.dumps(merge(smoke, tree))


def test_every_block_says_what_it_is_and_why_it_is_not_run() -> None:
    assert len(BLOCKS) > 50
    assert [named(block) for block in BLOCKS if block.language not in (*CODE, *SHOWN)] == []
    assert [named(block) for block in BLOCKS if block.no_run and block.language in (*SHOWN, "yaml")] == []
    for block in BLOCKS:
        if block.run_by:
            test = (ROOT / block.run_by).read_text(encoding="utf-8")
            assert Path(block.page).name in test, f"{block.run_by} does not name the page of {named(block)}"


def test_blocks_that_are_not_run_are_listed() -> None:
    listed = [f"{named(block)}: {block.no_run}" for block in BLOCKS if block.no_run]
    print(*listed, sep="\n")
    assert len(listed) < len([block for block in BLOCKS if block.language in CODE])


@pytest.mark.parametrize("block", of("python"))
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_is_a_run_file_or_a_part_of_one(block: Block, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(as_a_run_file(block), encoding="utf-8")
    load_plan(tmp_path / "run.yaml")


def test_the_readme_is_read_on_a_screen() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > MOST_COLUMNS] == []
    assert any("docs/images/" in line for line in lines[:20])
    (shown,) = (block for block in BLOCKS if block.page == "README.md" and block.language == "yaml")
    assert len(shown.text.splitlines()) <= 12


@pytest.mark.parametrize("block", of("bash", "console"))
def test_commands_are_there_with_their_options(block: Block) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in block.commands:
        words = [word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)]
        if words[:1] == ["make"]:
            assert words[1] in targets, named(block)
        elif words[1:3] == ["-m", "flows"]:
            assert wrong(words[3:]) == "", f"{named(block)}: {' '.join(words)}"
        elif words[1:2] == ["-m"] and words[2].startswith("benchmarks."):
            found = importlib.util.find_spec(words[2])
            assert found is not None and found.origin is not None, named(block)
            source = Path(found.origin).read_text(encoding="utf-8")
            assert [one for one in words if one.startswith("--") and f'"{one}"' not in source] == [], named(block)


def test_commands_within_sentences_are_there_with_their_options() -> None:
    seen = 0
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for command in re.findall(r"`python -m flows ([^`]+)`", text):
            words = shlex.split(command.replace("\n", " "))
            if words[0].islower() and "VERB" not in words and "[" not in command and "..." not in command:
                seen += 1
                assert wrong(words) in ("", "an argument is missing"), f"{page.name}: python -m flows {command}"
    assert seen > 10


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("compare params/x.yaml --fresh", ""),
        ("compare --frish", "No such option"),
        ("compere", "no command compere"),
        ("promote", "an argument is missing"),
        ("promote a b", "what is b"),
        ("compare --set", "requires"),
    ],
)
def test_a_command_that_has_gone_is_noticed(command: str, what: str) -> None:
    found = wrong(command.split())
    assert (what in found) if what else found == ""


def test_marks_quotes_and_transcripts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- no-run: too slow -->\n```console\n$ a 'b  # c\n$ d' e # f\nsaid\n```\n\n- x\n\n  ```bash\n  g \\\n    h\n  ```\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("tests.docs.blocks.ROOT", tmp_path)
    first, second = blocks_of(page)
    assert (first.no_run, first.line, second.no_run, second.line) == ("too slow", 2, "", 10)
    assert second.commands == [["g", "h"]]
