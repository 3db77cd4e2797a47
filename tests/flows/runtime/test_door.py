"""The door before our pages: who is let in, who is not, and what an answer gives away."""

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from flows.runtime.door import Door, Porch, link

KEY = "a-key_of-24-letters-or-so"
HOST = "127.0.0.1:5000"
HERE = f"http://{HOST}"
IN, CLOSED, FOREIGN = 200, 401, 403
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = ["/", "/health", "/version", "/api/2.0/x", "/get-artifact?path=a", "/static-files/x.js", "//x"]


@dataclass
class Answer:
    """What came back; `status` 0: nothing, since a websocket was closed before it opened."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """What stands behind the door."""
    kind = {"http": "http.response.start", "websocket": "websocket.accept"}[scope["type"]]
    await send({"type": kind, "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["type"] == "http":
        await send({"type": "http.response.body", "body": b"the page"})


def knock(app: Any, url: str, method: str = "GET", kind: str = "http", **headers: str | None) -> Answer:
    """What an ASGI application answers to a request for a path or an address; a header of None is left away."""
    parts, given = urlsplit(url if url.startswith("http") else HERE + url), {"Host": HOST} | headers
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in given.items() if value is not None]
    scope = {"type": kind, "path": unquote(parts.path), "query_string": parts.query.encode(), "headers": named}
    scope |= {"method": method} if kind == "http" else {"extensions": {"websocket.http.response": {}}}
    answer = Answer()

    async def send(message: dict[str, Any]) -> None:
        if message["type"].endswith("body"):
            answer.text += message["body"].decode()
        else:
            answer.status = message.get("status", IN)
            answer.headers = {name.decode(): value.decode() for name, value in message.get("headers", [])}

    asyncio.run(app(scope, None, send))
    return answer


DOOR, PORCH = Door(pages, KEY, 5000), Porch(pages, f"lagline:{KEY}")


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_open_without_the_key_and_the_answer_says_how_to_get_in(method: str, path: str) -> None:
    answer = knock(DOOR, path, method)
    assert answer.status == CLOSED and KEY not in str(answer.headers) + answer.text
    assert method == "HEAD" or ("\n" not in answer.text and "python -m flows ui" in answer.text)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {KEY}", IN),
        (f"bearer  {KEY} ", IN),
        (basic("anybody", KEY), IN),
        (basic("", KEY), IN),
        (f"Bearer {KEY[:-1]}", CLOSED),
        (f"Bearer {KEY}x", CLOSED),
        ("Bearer ", CLOSED),
        ("Bearer", CLOSED),
        (KEY, CLOSED),
        (f"Digest {KEY}", CLOSED),
        (basic(KEY, "x"), CLOSED),
        ("Basic !!!", CLOSED),
        ("Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(), CLOSED),
        ("Bearer \xe9\xff", CLOSED),
    ],
)
def test_a_header_may_carry_the_key(header: str, status: int) -> None:
    assert knock(DOOR, "/api/2.0/x", "POST", Authorization=header).status == status


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        (f"lagline-5000={KEY}", IN),
        (f"other=1; lagline-5000={KEY}", IN),
        (f"lagline-5000=old; lagline-5000={KEY}", IN),
        (f"lagline-5001={KEY}", CLOSED),
        (f"lagline={KEY}", CLOSED),
        ("lagline-5000=", CLOSED),
        ("lagline-5000", CLOSED),
        (";;=;", CLOSED),
    ],
)
def test_a_cookie_of_this_port_may_carry_it(cookie: str, status: int) -> None:
    assert knock(DOOR, "/", Cookie=cookie).status == status
    assert knock(DOOR, "/api/2.0/x", "POST", Cookie=cookie).status == status


def test_the_link_leaves_a_cookie_and_no_key_in_the_address() -> None:
    answer = knock(DOOR, link(f"{HERE}/#/experiments/1?a=b", KEY))
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert answer.headers["set-cookie"] == f"lagline-5000={KEY}; Path=/; HttpOnly; SameSite=Strict"
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    with_cookie = {"Cookie": f"lagline-5000={KEY}"}
    assert knock(DOOR, "/any?key=of-mlflow", **with_cookie).status == IN  # a query of the application's own


@pytest.mark.parametrize(
    ("asked", "clean"),
    [
        ("/x/y?a=1&key={}&b=%22%3Cscript%3E", "/x/y?a=1&b=%22%3Cscript%3E"),
        ("//evil.example/?key={}", "/evil.example/"),
        ("/%5Cevil.example?key={}", "/%5Cevil.example"),
        ("/%0d%0aSet-Cookie:x?key={}", "/%0D%0ASet-Cookie%3Ax"),
    ],
)
def test_the_link_leads_to_the_same_server_whatever_its_path(asked: str, clean: str) -> None:
    assert knock(DOOR, HERE + asked.format(KEY)).headers["location"] == clean


CLICK = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


def test_a_link_on_another_page_leads_in_by_a_step_of_our_own() -> None:
    """A browser follows a redirect from there without a cookie that is for this site alone."""
    answer = knock(DOOR, f"/?key={KEY}", Sec_Fetch_Site="cross-site", **CLICK)
    assert answer.status == IN and 'location.replace("/" + location.hash)' in answer.text
    assert "set-cookie" in answer.headers and KEY not in answer.text


@pytest.mark.parametrize("query", ["key=", "key=wrong", "key", f"KEY={KEY}", f"akey={KEY}", f"x=key={KEY}"])
def test_a_wrong_key_in_the_address_opens_nothing(query: str) -> None:
    answer = knock(DOOR, f"/?{query}")
    assert answer.status == CLOSED and "set-cookie" not in answer.headers


def test_a_key_in_the_address_of_what_is_no_page_opens_nothing() -> None:
    assert knock(DOOR, f"/api/2.0/x?key={KEY}", "POST").status == CLOSED


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, FOREIGN),  # its name was pointed at us
        ({"Host": "127.0.0.1.evil.example"}, FOREIGN),
        ({"Host": "evil.example:5000"}, FOREIGN),
        ({"Host": "192.168.0.1:5000"}, FOREIGN),
        ({"Host": ""}, FOREIGN),
        ({"Host": None}, FOREIGN),
        ({"host": "evil.example"}, FOREIGN),  # beside the right one
        ({"Host": "localhost"}, IN),
        ({"Host": "LOCALHOST:8080"}, IN),  # the near end of a tunnel
        ({"Host": "[::1]:5000"}, IN),
        ({"Origin": HERE}, IN),
        ({"Origin": "http://localhost:5000"}, FOREIGN),  # not where this request went
        ({"Origin": "http://127.0.0.1:6000"}, FOREIGN),  # a page of another port, which our cookie goes along with
        ({"Origin": "https://evil.example"}, FOREIGN),
        ({"Origin": "null"}, FOREIGN),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}, IN),
        ({"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"}, IN),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}, FOREIGN),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, FOREIGN),
        ({"Sec_Fetch_Site": "same-site"} | CLICK, IN),  # a person's
    ],
)
def test_another_name_and_another_page_are_shut_out_with_the_key_too(headers: dict[str, str], status: int) -> None:
    assert knock(DOOR, "/", Cookie=f"lagline-5000={KEY}", **headers).status == status
    assert knock(PORCH, "/", **headers).status == status


def test_a_form_on_another_page_cannot_post_though_it_comes_as_a_click() -> None:
    headers = CLICK | {"Sec_Fetch_Site": "same-site", "Cookie": f"lagline-5000={KEY}"}
    assert knock(DOOR, "/", "POST", **headers).status == FOREIGN


def test_a_websocket_needs_the_key_too() -> None:
    with_cookie = {"Cookie": f"lagline-5000={KEY}"}
    assert knock(DOOR, "/talk", kind="websocket").status == CLOSED
    assert knock(DOOR, f"/talk?key={KEY}", kind="websocket").status == CLOSED
    assert knock(DOOR, "/talk", kind="websocket", Origin="http://127.0.0.1:6000", **with_cookie).status == FOREIGN
    assert knock(DOOR, "/talk", kind="websocket", Origin=HERE, **with_cookie).status == IN


def test_a_page_may_talk_to_nobody_else() -> None:
    for app, headers in ((DOOR, {"Authorization": f"Bearer {KEY}"}), (PORCH, {})):
        policy = knock(app, "/", **headers).headers["content-security-policy"]
        assert "default-src 'self'" in policy and "http" not in policy


def test_prefects_link_hands_the_key_to_its_page() -> None:
    answer = knock(PORCH, link(HERE, PORCH.key))
    kept = base64.b64encode(PORCH.key.encode()).decode()
    assert f'localStorage.setItem("prefect-password", "{kept}");location.replace("/" + location.hash)' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert knock(PORCH, "/?key=wrong").text == "the page"
