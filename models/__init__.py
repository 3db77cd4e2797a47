"""HOW a forecast is computed: windows, networks, training; torch and numpy only, nothing else of ours.

A family is a class in `networks/` and a line in `families.py`; a variant is a YAML in `params/variants/` with the constructor's
arguments.  `FAMILIES` and `build_forecaster` are loaded when they are asked for, so that `models.data.window` needs no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.families import FAMILIES, build_forecaster

__all__ = ["FAMILIES", "build_forecaster"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    from models import families

    return getattr(families, name)
