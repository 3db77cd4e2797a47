"""Access control for a local server's pages: its key, a loopback name and requests from its own pages only.

Loopback is no protection: every user of the machine reaches it, and so does any web page in the browser.
`Door` checks the key on every request.  `Porch` is for a server that does so itself, and adds what it lacks:
a link that carries the key, and refusal of foreign names and pages.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[str, str]]

KEY = "key"  # the query parameter that carries the key
NAMES = ("127.0.0.1", "localhost", "[::1]")  # on any port: a tunnel (ssh -L) may end on another
NO_TRACE = [("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff")]
# no requests to other hosts: Prefect's page sends statistics to its makers, whatever its server's settings
HERE = (b"content-security-policy", b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'")
WRONG_NAME = "403: these pages answer to 127.0.0.1 and localhost alone, and not to requests of other pages."
CLOSED = (
    "401: these pages have a key: open the link that `python -m flows ui` has printed, the one with ?key=, "
    "or send the key in a header: Authorization: Bearer KEY (for an MLflow client: MLFLOW_TRACKING_TOKEN=KEY)."
)


@dataclass(frozen=True)
class _Entrance:
    """The entrance to the pages of an `app`: admits by the link with the key, and refuses the rest."""

    app: App
    key: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: admits or refuses an HTTP request or websocket; lifespan events pass."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if not _from_here(scope):
            return await _answer(scope, send, HTTPStatus.FORBIDDEN, WRONG_NAME)
        if _carries(scope, self.key):
            return await self._welcome(scope, send)
        if not self._is_known(scope):
            return await _answer(scope, send, HTTPStatus.UNAUTHORIZED, CLOSED, [("WWW-Authenticate", 'Bearer realm="lagline"')])
        return await self.app(scope, receive, _with_header(send, HERE))

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Answers the link, so that later requests from there are recognised."""
        raise NotImplementedError

    def _is_known(self, scope: Scope) -> bool:
        """Whether a request may go on to the app."""
        raise NotImplementedError


@dataclass(frozen=True)
class Door(_Entrance):
    """`app` behind a key.  The link sets a cookie named after `port`, since cookies cross ports."""

    port: int

    async def _welcome(self, scope: Scope, send: Send) -> None:
        cookie = f"{self._cookie}={self.key}; Path=/; HttpOnly; SameSite=Strict"
        await _lead_in(scope, send, [("Set-Cookie", cookie)])

    def _is_known(self, scope: Scope) -> bool:
        return any(_same(shown, self.key) for shown in self._shown(scope))

    @property
    def _cookie(self) -> str:
        return f"lagline-{self.port}"

    def _shown(self, scope: Scope) -> Iterable[str]:
        """Every value that a request presents as a key."""
        for cookies in _values(scope, b"cookie"):
            for cookie in cookies.split(";"):
                name, _, value = cookie.strip().partition("=")
                if name == self._cookie:
                    yield value
        for header in _values(scope, b"authorization"):
            scheme, _, credentials = header.partition(" ")
            if scheme.lower() == "bearer":
                yield credentials.strip()
            elif scheme.lower() == "basic":  # of standard tools; any user name will do
                yield _password(credentials)


@dataclass(frozen=True)
class Porch(_Entrance):
    """Prefect's `app`, which checks its key itself: the link hands the key to the page, which stores it."""

    async def _welcome(self, scope: Scope, send: Send) -> None:
        kept = base64.b64encode(self.key.encode()).decode()
        await _lead_in(scope, send, [], f'localStorage.setItem("prefect-password", {json.dumps(kept)});')

    def _is_known(self, scope: Scope) -> bool:
        return True


def link(address: str, key: str) -> str:
    """An address of a page (`http://host:port/...`, fragment allowed) with the key added."""
    page, mark, fragment = address.partition("#")
    scheme, _, rest = page.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}/{path}?{urlencode({KEY: key})}{mark}{fragment}"


def _from_here(scope: Scope) -> bool:
    """Whether a request names a loopback host and comes from one of our own pages.

    The host name stops DNS rebinding; the origin stops a page that posts with our cookie (SameSite does not,
    since other ports count as the same site).  A person may follow a link from anywhere.
    """
    hosts = _values(scope, b"host")
    if len(hosts) != 1 or _name(hosts[0]) not in NAMES:
        return False
    if any(origin.partition("://")[2].lower() != hosts[0].lower() for origin in _values(scope, b"origin")):
        return False
    if not set(_values(scope, b"sec-fetch-site")) & {"cross-site", "same-site"}:
        return True
    opened = (_values(scope, b"sec-fetch-mode"), _values(scope, b"sec-fetch-dest")) == (["navigate"], ["document"])
    return opened and scope.get("method") in ("GET", "HEAD")


def _name(host: str) -> str:
    """A host without its port, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope.get("headers", []) if header.lower() == name]


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _carries(scope: Scope, key: str) -> bool:
    """Whether the address of a page carries the key."""
    page = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return page and any(name == KEY and _same(value, key) for name, value in _query(scope))


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode("latin-1").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _same(shown: str, key: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(shown.encode(), key.encode())


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), header]}
        await send(message)

    return sent


async def _lead_in(scope: Scope, send: Send, headers: Headers, script: str = "") -> None:
    """Leads to the same page without the key in its address.

    By a redirect, or by a script if there is something to run first or the link stood on another site: after
    such a redirect a browser would not send our new cookie.
    """
    path, query = quote("/" + scope["path"].lstrip("/")), urlencode([pair for pair in _query(scope) if pair[0] != KEY])
    clean = f"{path}?{query}" if query else path
    headers = [*headers, *NO_TRACE]
    if not script and not _values(scope, b"sec-fetch-site").count("cross-site"):
        return await _answer(scope, send, HTTPStatus.SEE_OTHER, "", [("Location", clean), *headers])
    page = (
        f'<!doctype html><meta charset="utf-8"><title>lagline</title><a href="{clean}">Go on</a>'
        f"<script>{script}location.replace({json.dumps(clean)} + location.hash)</script>\n"
    )
    return await _answer(scope, send, HTTPStatus.OK, page, headers, "text/html")


async def _answer(
    scope: Scope, send: Send, status: HTTPStatus, text: str, headers: Headers | None = None, kind: str = "text/plain"
) -> None:
    """Sends a complete answer, also in place of a websocket."""
    before = ""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            return await send({"type": "websocket.close", "code": 1008})
        before = "websocket."
    body = text.encode()
    all_headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))), *(headers or NO_TRACE)]
    listed = [(name.lower().encode(), value.encode("latin-1")) for name, value in all_headers]
    await send({"type": f"{before}http.response.start", "status": int(status), "headers": listed})
    await send({"type": f"{before}http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})
