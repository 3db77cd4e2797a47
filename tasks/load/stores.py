"""Object stores via pyarrow, which finds credentials in the environment and the usual places by itself."""

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from params.errors import UserError
from params.shown import masked

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONNECT, ANSWER = 10, 60  # seconds
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KINDS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "abfs": "az", "abfss": "az"}
REASONS = {  # words in the error of a store or server -> what it means
    ("no_such_bucket", "bucket does not exist", "containernotfound"): "there is no such bucket",
    ("access_denied", "access denied", "forbidden", "403", "401", "unauthorized", "invalid_access_key", "signature"): (
        "access is denied: are the credentials in the environment, and may they list and read this?"
    ),
    ("credential", "authenticat"): (
        "no credentials were found: set them in the environment (of S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
    ),
    ("network", "connect", "resolve", "name or service", "timed out", "timeout", "curlcode", "unreachable", "ssl"): (
        "it cannot be reached: is there a network, and is the address right?"
    ),
    ("404", "not found", "not exist", "no such file"): "there is no such file",
}


def store(address: str) -> tuple["FileSystem", str]:
    """The store of an address, and the path in it."""
    parts = urlsplit(address, allow_fragments=False)
    kind, inside = KINDS[parts.scheme.lower()], f"{parts.netloc}{parts.path}".strip("/")
    if parts.query:
        inside += f"?{parts.query}"  # part of a pattern or key
    if not parts.netloc:
        raise UserError("the address names no bucket: write it like s3://bucket/folder")
    if kind == "s3":
        return _s3(), inside
    if kind == "gs":
        return _gs(), inside
    return _azure(inside)


def _s3() -> "FileSystem":
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    options: dict[str, Any] = {}
    endpoint = urlsplit(_variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") or "")
    if endpoint.netloc:
        if endpoint.scheme == "http" and endpoint.hostname not in LOOPBACK and not _is_set("AWS_ALLOW_HTTP"):
            raise UserError(
                "AWS_ENDPOINT_URL is an http:// address, which anyone can read along: set AWS_ALLOW_HTTP=true to use it"
            )
        options |= {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    region = _variable("AWS_REGION", "AWS_DEFAULT_REGION")
    if region or endpoint.netloc:
        options["region"] = region or "us-east-1"
    return S3FileSystem(
        anonymous=_is_set("AWS_SKIP_SIGNATURE"), force_virtual_addressing=_is_set("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"),
        connect_timeout=CONNECT, request_timeout=ANSWER, retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3), **options,
    )  # fmt: skip


def _gs() -> "FileSystem":
    from datetime import timedelta

    from pyarrow.fs import GcsFileSystem

    options: dict[str, Any] = {}
    endpoint = _variable("STORAGE_EMULATOR_HOST")
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        options = {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    return GcsFileSystem(
        anonymous=bool(endpoint) or _is_set("GOOGLE_SKIP_SIGNATURE"), retry_time_limit=timedelta(seconds=ANSWER), **options
    )


def _azure(inside: str) -> tuple["FileSystem", str]:
    from pyarrow.fs import AzureFileSystem

    container, _, rest = inside.partition("/")
    container, _, host = container.partition("@")
    account = host.partition(".")[0] or _variable("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    if not account:
        raise UserError("the storage account is missing: set AZURE_STORAGE_ACCOUNT_NAME, or write abfss://container@account...")
    options: dict[str, Any] = {
        "account_key": _variable("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
        "sas_token": _variable("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
        **{name: _variable(f"AZURE_STORAGE_{name.upper()}") for name in ("client_id", "client_secret", "tenant_id")},
    }
    given = {name: value for name, value in options.items() if value}
    return AzureFileSystem(account, **given), f"{container}/{rest}".strip("/")


def _variable(*names: str) -> str | None:
    """The first of some environment variables that is not empty."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on")


def reason(error: Exception, address: str) -> str:
    """Why a store or server does not return a file, and what to do."""
    text = " ".join(masked(str(error), [address]).split())[:300]
    advice = next((what for words, what in REASONS.items() if any(word in text.lower() for word in words)), None)
    return f"{advice or 'it cannot be read'} ({text})"
