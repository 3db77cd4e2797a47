"""The resources of one fit on an engine: cores, GPUs, memory, and the kind of processor.

They decide where a fit runs, not its result, so no identity includes them.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from params.section import Section

LEAST_MEMORY, MOST_MEMORY = 10**6, 10**15  # bytes: below, a unit was forgotten; above, no machine has it
SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?([kmgt])(i?)b", re.ASCII | re.IGNORECASE)
KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,99}", re.ASCII)


def in_bytes(value: object) -> object:
    """A size such as 4GB (10^9 bytes each) or 512MiB (2^20 each), in bytes; other types are unchanged.

    Raises ValueError for a malformed size.
    """
    if not isinstance(value, str):
        return value
    match = SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a size such as 4GB or 512MiB, or bytes as a whole number")
    number, letter, binary = match.groups()
    return round(float(number) * (1024 if binary else 1000) ** ("kmgt".index(letter.lower()) + 1))


def _memory(value: int) -> int:
    if value < LEAST_MEMORY:
        raise ValueError(f"{value:,} bytes hold no fit: write the unit with it, such as 4GB")
    if value > MOST_MEMORY:
        raise ValueError(f"{value:,} bytes are more than a machine has: write a size such as 4GB")
    return value


def _one_gpu(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError("a fit runs on one GPU or a share of it: write 1, or a fraction such as 0.25")
    return value


def _kind(value: str) -> str:
    if not KIND.fullmatch(value):
        raise ValueError("write a word of what it computes on, such as H100 or AVX512")
    return value


Cpus = Annotated[float, Field(gt=0, le=1024)]
Gpus = Annotated[float, AfterValidator(_one_gpu)]
Memory = Annotated[int, AfterValidator(_memory)]
Kind = Annotated[str, AfterValidator(_kind)]


class ResourcesKept(Section):
    """The resources of one fit, as stored with a version; null: by its threads and its device.

    `cpus` and `gpus` may be fractions: with `gpus: 0.25` four fits share a GPU.  `memory` in bytes.  `kind`:
    a word for the processor, such as H100 or AVX512, where the machines of a cluster differ.
    """

    cpus: Cpus | None = None  # cores; null: training.threads
    gpus: Gpus | None = None  # a share of one; null: one where fits run on GPUs
    memory: Memory | None = None  # bytes
    kind: Kind | None = None  # a word for the processor, such as H100


class ResourceParams(ResourcesKept):
    """The same as written in a run file: `memory` may be text such as 4GB."""

    @field_validator("memory", mode="before")
    @classmethod
    def _in_bytes(cls, value: object) -> object:
        return in_bytes(value)
