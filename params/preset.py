"""Presets (`params/presets/*.yaml`): how much a comparison tries, most rewarding first."""

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from params.errors import UserError, clipped
from params.load import PARAMS
from params.section import MOST_FOLDS, Name, NonNegative, Section, Share, Text, as_tuple
from params.strict_yaml import read_yaml

OWN = "own"  # in a preset's variants: those of the run file


class TuneParams(Section):
    """How many of the best variants are tuned, and with how many trials in all; 0: none."""

    variants: NonNegative
    trials: NonNegative


class ClockParams(Section):
    """Shares of `--minutes`: after `variants` no further variant starts; tuning may take `tune` of the rest.

    What is left then goes to further seeds and validation ranges, and to scoring.
    """

    variants: Share
    tune: Share


class Preset(Section):
    """What is tried: `variants` in the order in which they start, `own` being those of the run file."""

    about: Text
    variants: Annotated[tuple[Name, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    seeds: Annotated[int, Field(ge=1, le=1000)]
    folds: Annotated[int, Field(ge=1, le=MOST_FOLDS)]
    tune: TuneParams
    clock: ClockParams

    @model_validator(mode="after")
    def _once(self) -> "Preset":
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants: a variant is named twice")
        return self

    def wanted(self, run_variants: tuple[str, ...]) -> tuple[str, ...]:
        """The variants, each once, with `own` replaced by `run_variants`."""
        every = (name for entry in self.variants for name in (run_variants if entry == OWN else (entry,)))
        return tuple(dict.fromkeys(every))


def preset_names() -> list[str]:
    """All preset names, the smallest preset first."""
    return sorted((path.stem for path in (PARAMS / "presets").glob("*.yaml")), key=lambda name: load_preset(name).tune.trials)


def load_preset(name: str) -> Preset:
    """A preset by name.  Raises UserError if it is unknown or its file is invalid."""
    known = sorted(path.stem for path in (PARAMS / "presets").glob("*.yaml"))
    if name not in known:
        raise UserError(f"--preset {clipped(name)}: there is no such preset; there are: {', '.join(known)}")
    file = f"params/presets/{name}.yaml"
    tree, lines = read_yaml(PARAMS / "presets" / f"{name}.yaml", file)
    try:
        return Preset.model_validate(tree)
    except ValidationError as error:
        first = min(error.errors(include_url=False), key=lambda item: item["type"] == "missing")
        path = tuple(map(str, first["loc"]))
        where = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), file)
        raise UserError(f"{where}: {'.'.join(path) or 'preset'}: {first['msg'].removeprefix('Value error, ')}") from None
