"""How a forecast is computed: windows, networks and training.  Needs only torch and numpy.

A family is a class in `networks/` and a line in `families.py`; a variant is a YAML file in `params/variants/`
with the constructor's arguments.  `FAMILIES` and `build_forecaster` are imported on first use, so that
`models.data.window` works without torch.
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
