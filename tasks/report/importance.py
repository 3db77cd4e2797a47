"""What drives the forecast, as a section of the report, pictures, a table, lines of the card, and in MLflow."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from params.shown import visible
from tasks import pages
from tasks.evaluate.importance import Driver, Effect, Importance
from tasks.evaluate.permute import Role
from tasks.pages import NUMBER, Cell, Html, Row
from tasks.report.plots.importance import effect_plot, gradient_plot, lag_plot, strongest_first
from tasks.tracking import logs
from tasks.train.fits import Fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 20  # covariates in a picture, the largest effect first
BOTH = (False, True)  # for a desktop, and for a phone
CAPTIONS = {
    "importance.png": "By covariate, with the standard deviation over blocks; grey: not above it",
    "importance_by_lag.png": "By block of lags, each exchanged by itself",
}
GRADIENTS = {"gradients.png": "Integrated gradients: which feature, how many rows before the first step, makes the forecast"}
NOT_MEASURED = (
    "Not measured: no variant finished, or no row of a series has the place in the season of a test origin and lies at least "
    "a window and a horizon away from it, so that nothing can be exchanged."
)
HEADS = ("covariate", "known", "error grows by", "spread", "at lags")


def names_of(importance: Importance, target: str) -> dict[str, str]:
    """Each covariate's name as shown: the target's own instead of y."""
    return {driver.name: visible(target if driver.role is Role.OWN else driver.name) for driver in importance.drivers}


def pictures_of(importance: Importance | None, target: str) -> Iterable[tuple[str, "Figure", "Figure"]]:
    """File name and figure for a desktop and a phone, of each picture that there is something to draw for."""
    if importance is None:
        return
    names, some = names_of(importance, target), importance.drivers[:DRAWN]
    desk, phone = (effect_plot(some, names, importance.model, narrow) for narrow in BOTH)
    yield "importance.png", desk, phone
    if any(driver.lags for driver in some):
        desk, phone = (lag_plot(some, names, narrow) for narrow in BOTH)
        yield "importance_by_lag.png", desk, phone
    if importance.gradients is not None:
        strongest = strongest_first(importance.gradients, DRAWN)
        desk, phone = (gradient_plot(strongest, names, importance.model, narrow) for narrow in BOTH)
        yield "gradients.png", desk, phone


def section(importance: Importance | None, target: str, pictures: Sequence[Html]) -> pages.Section:
    """The section of the report; why nothing was measured, if so."""
    title = "What drives the forecast"
    if importance is None:
        return pages.Section("drivers", title, NOT_MEASURED)
    more = len(importance.drivers) - DRAWN
    rest = pages.bullets([f"The {DRAWN} largest of {len(importance.drivers)}; all are in importance.csv."] if more > 0 else [])
    return pages.Section("drivers", title, how_measured(importance), pictures, _table(importance, target) + rest)


def how_measured(importance: Importance) -> str:
    """How it was measured, in words."""
    draws = f", {importance.draws} times each" if importance.draws > 1 else ""
    return (
        f"How much the test error of {importance.model} grows when one covariate's window, past and ahead, is exchanged with "
        f"that of another origin of the same series, whole seasons ({importance.slot} rows) away; static ones between series. "
        f"{importance.windows:,} windows{draws}; spread: the standard deviation over blocks of {importance.over}. It "
        "chose nothing."
    )


def _table(importance: Importance, target: str) -> Html:
    heads, *rows = (
        [Cell(text, NUMBER if at > 1 else "") for at, text in enumerate(texts)]
        for texts in (HEADS, *rows_of(importance, target, DRAWN))
    )
    return pages.table(heads, [Row(cells) for cells in rows])


def rows_of(importance: Importance, target: str, most: int) -> list[tuple[str, ...]]:
    """The cells of HEADS for the covariates with the largest effects."""
    names = names_of(importance, target)
    return [_row(driver, names) for driver in importance.drivers[:most]]


def _row(driver: Driver, names: Mapping[str, str]) -> tuple[str, ...]:
    spread = "" if driver.effect.spread is None else _percent(driver.effect.spread)
    return names[driver.name], str(driver.role), _percent(driver.effect.share), spread, _lags(driver)


def _percent(share: float) -> str:
    return f"{100 * share:.{1 if abs(share) < 1 else 0}f} %"


def _lags(driver: Driver) -> str:
    """The rows before the first step that hold most of it; nothing if no block of them is clear."""
    best = driver.strongest
    if best is None:
        return ""
    return f"{best.first}" if best.first == best.last else f"{best.first} to {best.last}"


def table_of(importance: Importance, target: str) -> pl.DataFrame:
    """Every effect: by covariate, by block of lags (`first_lag`, `last_lag`, else null), overall (`step` null) and by step."""
    names, rows = names_of(importance, target), list[dict[str, object]]()
    for driver in importance.drivers:
        for first, last, effect in ((None, None, driver.effect), *driver.lags):
            place = {"covariate": names[driver.name], "known": str(driver.role), "first_lag": first, "last_lag": last}
            rows += [place | cells for cells in _by_step(effect)]
    types = {"covariate": pl.String, "known": pl.String, "first_lag": pl.Int64, "last_lag": pl.Int64, "step": pl.Int64}
    return pl.DataFrame(rows, schema={**types, "importance": pl.Float64, "spread": pl.Float64})


def _by_step(effect: Effect) -> list[dict[str, object]]:
    steps: list[dict[str, object]] = [
        {"step": step, "importance": share, "spread": None} for step, share in enumerate(effect.by_step, 1)
    ]
    return [{"step": None, "importance": effect.share, "spread": effect.spread}, *steps]


def log_importance(importance: Importance | None, target: str, parent: str, fits: Sequence[Fit], folder: Path) -> None:
    """Logs `importance.csv` to a comparison's run, and `importance_<covariate>` to that of the fit it was measured on."""
    if importance is None:
        return
    table_of(importance, target).write_csv(folder / "importance.csv")
    logs.log_file(parent, folder / "importance.csv")
    run_id = next(fit.run_id for fit in fits if fit.label == importance.model)
    logs.log_metrics(run_id, metrics_of(importance, target))


def metrics_of(importance: Importance, target: str) -> dict[str, float | None]:
    """The effect of each covariate by a name that MLflow allows; of two that become alike, the larger."""
    names = names_of(importance, target)
    effects = {f"importance_{names[driver.name]}": driver.effect.share for driver in reversed(importance.drivers)}
    return {logs.legal(name): share for name, share in effects.items()}
