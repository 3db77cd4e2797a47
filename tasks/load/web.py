"""Downloads one file from a web address; never follows a redirect from https to http."""

import base64
import http.client
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from params.errors import UserError
from tasks.load.kinds import SUFFIXES, suffix_of
from tasks.load.text import listed

BLOCK = 1 << 20
ANSWER = 60  # seconds without a byte
TYPES = {"text/csv": ".csv", "text/tab-separated-values": ".tsv", "application/vnd.apache.parquet": ".parquet"}


def fetch(address: str, folder: Path) -> Path:
    """Downloads an http or https address to `folder`, under its own name.

    Raises UserError if the kind of table is unclear, and OSError for network errors.
    """
    parts = urlsplit(address)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    request = urllib.request.Request(bare, headers={"User-Agent": "lagline", "Accept-Encoding": "identity"})
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.build_opener(_Careful()).open(request, timeout=ANSWER) as answer:
            file = folder / _name(parts.path, answer.headers)
            read = 0
            with file.open("wb") as out:
                while block := answer.read(BLOCK):
                    out.write(block)
                    read += len(block)
            length = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"the server says {error.code} {error.reason}") from None
    except http.client.HTTPException as error:
        raise OSError(f"the server does not answer as one of the web ({type(error).__name__})") from None
    if length and length.isdigit() and int(length) != read:
        raise OSError(f"the connection ended after {read:,} of {int(length):,} bytes")
    return _unpacked_name(file)


def _name(path: str, headers: Message) -> str:
    """The file's name: the end of the address, or what the server says of its name or type."""
    called = PurePosixPath(unquote(path)).name or "table"
    for name in (called, PurePosixPath(headers.get_filename() or "").name, called + TYPES.get(headers.get_content_type(), "")):
        if suffix_of(Path(name)) and "\0" not in name:
            return name
    raise UserError(f"nothing tells what kind of table this address gives; it must end in one of {listed(SUFFIXES)}")


def _unpacked_name(file: Path) -> Path:
    """Appends .gz to the name of a text that the server sends compressed."""
    with file.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return (
        file.rename(file.with_name(f"{file.name}.gz"))
        if packed and not file.name.lower().endswith((".gz", ".parquet"))
        else file
    )


class _Careful(urllib.request.HTTPRedirectHandler):
    """Refuses redirects from https to http, where anyone could read along or answer."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("the server sends on from https to http, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
