"""Selects the engine by LAGLINE_ENGINE; the default is processes of this machine."""

import os
from functools import cache

from params.errors import UserError
from tasks.engine.contract import Engine
from tasks.engine.local import LOCAL

ENGINES = ("local", "ray")


def engine() -> Engine:
    """The engine that LAGLINE_ENGINE names.  Raises UserError for an unknown one."""
    name = os.environ.get("LAGLINE_ENGINE", "").strip() or "local"
    if name == "local":
        return LOCAL
    if name == "ray":
        return _ray()
    raise UserError(f"LAGLINE_ENGINE={name}: there is no such engine; write one of: {', '.join(ENGINES)}")


@cache
def _ray() -> Engine:
    """One connection per process; Ray is imported only on demand."""
    from tasks.engine.ray import Ray

    return Ray()
