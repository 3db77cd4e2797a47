"""Strict YAML: scalars as YAML 1.2 reads them, and every surprise refused with file and line."""

import os
import socket
from pathlib import Path

import pytest

from params.errors import UserError
from params.strict_yaml import MOST_BYTES, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("1E5", 100000.0),
        ("12:30", "12:30"),
        ("no", "no"),
        ("on", "on"),
        ("0123", 123),
        ("1_000", "1_000"),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
        ("2013-01-01", "2013-01-01"),
        (".5", 0.5),
        ("-7", -7),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text: str, expected: object) -> None:
    value, _ = parse_yaml(f"key: {text}", "file.yaml")
    assert value["key"] == expected
    assert type(value["key"]) is type(expected)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\na: 2", 2, "twice"),
        ("a: {b: 1, b: 2}", 1, "twice"),
        ("a: &x 1\nb: *x", 1, "aliases"),
        ("x: 1\na: !!python/object/apply:os.system ['true']", 2, "tag"),
        ("a: !!int '3'", 1, "tag"),
        ("- 1\n- 2", None, "mapping"),
        ("just text", None, "mapping"),
        ("", None, "mapping"),
        ("a: [1, 2", None, "valid YAML"),
        ("a: .inf", 1, "finite"),
        ("a: .NaN", 1, "finite"),
        ("a: 1\n--- \nb: 2", 2, "valid YAML"),
        ("? [a, b]\n: 1", 1, "plain text"),
        ("a: " + "9" * 400, 1, "too large"),
    ],
)
def test_surprises_are_refused_with_their_line(text: str, line: int | None, word: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "file.yaml")
    message = str(caught.value)
    assert word in message
    assert message.startswith(f"file.yaml:{line}:" if line else "file.yaml")


def test_a_python_tag_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(UserError):
        parse_yaml(f"a: !!python/object/apply:os.mkdir ['{marker}']", "file.yaml")
    assert not marker.exists()


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    with pytest.raises(UserError, match="aliases"):
        parse_yaml("\n".join(lines), "bomb.yaml")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(UserError):
        parse_yaml("a: " + "[" * 500 + "]" * 500, "deep.yaml")


NEARLY = MOST_BYTES - 1_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: " + "[" * NEARLY, "nested too deeply"),
        ("a: " + "{a: " * (NEARLY // 4), "nested too deeply"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("- " * (NEARLY // 2), "nested too deeply"),
        ("".join(" " * depth + "a:\n" for depth in range(700)), "nested too deeply"),
        ("? " * (NEARLY // 2), "plain text"),
        ("a: [" + "[]," * (NEARLY // 3) + "]", "too much for a params file"),
        ("".join(f"k{number}: 1\n" for number in range(20_000)), "too much for a params file"),
        ("k" * 5000 + ": 1", "valid YAML"),
        ("? " + "k" * 5000 + "\n: 1", "has 5,000 letters"),
        ("a: !" + "x" * NEARLY + " 1", "the tag"),
        ("a: 1e999", "not a finite number"),
        ("a: -1e999", "not a finite number"),
        ("a: \x1b[31m", "U+001B"),
        ("a: 1\nb: \0", "file.yaml:2: this is not valid YAML"),
        ("#" + "x" * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_what_is_deep_long_or_much_is_refused_in_a_line_and_in_a_moment(text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "file.yaml")
    assert told in str(caught.value) and len(str(caught.value)) < 300


def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    for name, to in (("zero", "/dev/zero"), ("loop", "loop"), ("nowhere", "none")):
        (tmp_path / name).symlink_to(to)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**31)
    (tmp_path / "latin").write_bytes(b"name: \xf6\n")
    for name, told in {
        "folder": "this is a folder",
        "fifo": "this is a pipe, a socket or a device",
        "socket": "this is a pipe, a socket or a device",
        "zero": "this is a pipe, a socket or a device",
        "loop": "cannot be read",
        "nowhere": "there is no such file",
        "huge": "larger than",
        "latin": "not UTF-8",
        "x" * 300: "cannot be read",
        "a\0b": "cannot be read",
    }.items():
        with pytest.raises(UserError, match=told):
            read_yaml(tmp_path / name)
