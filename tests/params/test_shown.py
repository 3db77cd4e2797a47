"""What may be shown: nothing that a terminal obeys, and no secret in any form in which addresses and drivers write it."""

import sys
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from params import shown as room
from params.errors import ChecksFailed, UserError
from params.shown import masked, shown, shown_tree, visible

SECRET = "hunter2-t0psecret"
JOINERS = "\u200c\u200d"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No secret of the machine that the tests run on; what a test sets is known to it alone."""
    monkeypatch.setattr(room.os, "environ", {})
    room.learn()
    yield
    room.learn()


def test_whatever_a_terminal_obeys_or_a_reader_does_not_see_is_an_escape() -> None:
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        obeyed = unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in JOINERS
        number_sign = (
            unicodedata.name(letter, "").startswith("ARABIC") and unicodedata.category(letter) == "Cf" and code != 0x61C
        )
        if obeyed and not number_sign:
            assert visible(letter).isascii() and visible(letter).isprintable(), hex(code)
            assert letter in "\t\n" or shown(letter) == visible(letter)
        elif letter != "\\" and unicodedata.category(letter) != "Cn":
            assert visible(letter) == letter, hex(code)


def test_lines_of_ours_stay_lines_and_a_name_stays_in_its_own() -> None:
    assert shown("one\n\ttwo\r\x1b[2K\x9b1m") == "one\n\ttwo\\r\\x1b[2K\\x9b1m"
    assert visible("one\n\ttwo\u2028three\u202e") == "one\\n\\ttwo\\u2028three\\u202e"
    assert visible("a\nb") != visible("a\\nb")


@pytest.mark.parametrize(
    "form",
    [
        *("http://user:{}@host:5000/x", "postgresql+psycopg2://user:{}@host/db?a=b", "redis://:{}@host", "https://{}@host/x"),
        *("https://{}:@host/x", "https://{}:x-oauth-basic@host/x", "git+https://{}@host/x", "user:{}@host"),
        *("https://h/x?sig={}&sv=1", "https://h/x?sv=1&amp;key={}#a", "https://h/x?access_token={}", "http://[::1]:80/?token={}"),
        *("api_key={}", "MLFLOW_TRACKING_PASSWORD={}", "sslpassword={}", "dbname=x password='{}' host=y", "wss://h/?auth={}"),
        *("DRIVER={{X}};PWD={{{}}};UID=q", "AccountKey={};x", "jdbc:postgresql://h/d?user=fred&password={}", "password: {}"),
        *("{{'password': '{}', 'b': 2}}", '{{"token": "{}"}}', "('api_key', '{}')", "Authorization: Bearer {}", "Bearer {}"),
        *("{{b'Authorization': b'Basic {}'}}", "authorization={}", "Cookie: {}", "X-Amz-Signature={}&b=1"),
    ],
)  # fmt: skip
def test_a_secret_of_a_known_form_is_masked(form: str) -> None:
    text = form.format(SECRET)
    for given_text in (text, f"see {text} and {text}", f"http://a:b@c,{text}"):
        assert SECRET not in masked(given_text) and room.MASK in masked(given_text)
    coded = form.format("t0p%2F%3A%40%23%26secret")
    assert "secret" not in masked(coded) or form == "Bearer {}"
    for encoded in (quote(text, safe=""), quote(quote(text, safe=""), safe="")):
        assert not form.startswith(("http", "postgresql", "redis", "git", "api", "X")) or "hunter2" not in masked(encoded)


@pytest.mark.parametrize("password", ["p@ss", "p%40ss", "a:b", "a/b", "12/34", "a'b\"c", "ä€", "x" * 1500, "a?b#c", "%2Fa%3Ab"])
def test_a_password_of_any_letters_is_masked_to_the_last_at(password: str) -> None:
    assert masked(f"cannot reach postgresql://user:{password}@host/db!") == "cannot reach postgresql://user:***@host/db!"
    assert masked(f"http://u%40s:{password}@host") == "http://u%40s:***@host"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user@host/name",
        "sqlite:////folder/a@b.db",
        "http://127.0.0.1:5000/#/experiments/1/runs/a%40b",
        "Next: python -m flows forecast nyc-weather@champion --data FILE",
        "models:/nyc-weather@champion",
        "--set training.max_epochs=3",
        "write it as section.key=value",
        "passed  skill  0.12 above",
        "max_tokens is 5; the key of it: a word",
        "a password is asked for",
        "write to me@example.org",
        "2026-11-24 06:00:00+00:00",
        "mlflow-artifacts:/1/abc/artifacts",
        "Mañana, 日本語, می‌خواهم, 👩‍🔬",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PREFECT_API_KEY", "PGPASSWORD", "X_SECRET"]
)
def test_a_secret_of_the_environment_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(room.os.environ, name, "t0p:secret/1")
    for text in ("it said t0p:secret/1!", "xt0p:secret/1x", quote("a t0p:secret/1", safe=""), repr("t0p:secret/1")):
        assert "secret/1" not in masked(text) and "secret%2F1" not in masked(text)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("PREFECT_API_AUTH_STRING", "admin:s3cr3tpw", "s3cr3tpw"),
        ("PREFECT_API_URL", "http://u:s3cr3tpw@host/api", "s3cr3tpw"),
        ("MY_DATABASE", "postgresql://u:s3%40cr3t@host/db", "s3@cr3t"),
        ("MY_STORE", "https://h/x?sv=1&sig=s3cr3tpw", "s3cr3tpw"),
        ("ANY_ADDRESS", "https://s3cr3tpw@host", "s3cr3tpw"),
    ],
)
def test_so_is_the_secret_part_of_an_address(monkeypatch: pytest.MonkeyPatch, name: str, value: str, secret: str) -> None:
    monkeypatch.setitem(room.os.environ, name, value)
    assert secret not in masked(f"nonnumeric port: '{secret}@127.0.0.1:4200'; {secret}")


def test_a_password_that_is_a_word_or_a_number_takes_no_words_of_ours_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"A_PASSWORD": "weather", "B_PASSWORD": "123456", "C_TOKEN": "true", "D_KEY": "", "PWD": "/some/folder"}
    monkeypatch.setattr(room.os, "environ", environment)
    text = "Registered as nyc-weather version 1 (0.1234567, true, /some/folder)"
    assert masked(text) == text
    assert masked("password authentication failed: weather, 123456") == "password authentication failed: ***, ***"


def test_a_tree_of_json_keeps_its_form() -> None:
    tree = {"a": [1, None, True, "http://u:s3cr3t@h", {"b": ("x", 1.5)}], "c": "\x1b"}
    assert shown_tree(tree) == {"a": [1, None, True, "http://u:***@h", {"b": ["x", 1.5]}], "c": "\x1b"}


PIECES = st.sampled_from([*"ab1:/@=&?%40'\"\\{} \n\x1b\u2028", "://", "token", "password=", "http://u:p@h", "https"])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_a_text_of_any_form_is_shown_without_an_error_or_a_line_more(text: str) -> None:
    assert not room.OBEYED.search(shown(text)) and not room.OBEYED_OR_LINE.search(visible(text))
    assert shown(text).count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["http://u:p@h?token=a", "{'password': 'x'}", "password: x", "Authorization: Basic a"])
def test_what_was_shown_once_is_shown_so_again(text: str) -> None:
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize("kind", [UserError, ChecksFailed])
def test_an_error_holds_neither(kind: type[Exception]) -> None:
    assert str(kind("a\x1b[31m of\nhttp://u:s3cr3t@h")) == "a\\x1b[31m of\nhttp://u:***@h"


def test_an_error_that_leaves_a_flow_or_a_task_holds_no_secret_nor_do_those_behind_it() -> None:
    class Answered(Exception):
        def __init__(self, message: str) -> None:
            super().__init__(message, ValueError("token=s3cr3t"))
            self.message = message

    @room.discreet
    def call(address: str) -> None:
        """Asks."""
        try:
            raise OSError(f"no answer from {address}")
        except OSError as error:
            raise Answered(f"API request to {address} failed") from error

    with pytest.raises(Answered) as caught:
        call("http://u:s3cr3t@h")
    error = caught.value
    assert error.message == error.args[0] == "API request to http://u:***@h failed"
    assert "s3cr3t" not in repr((error.args, error.__cause__, error.__context__))
    assert (call.__name__, call.__doc__) == ("call", "Asks.")
