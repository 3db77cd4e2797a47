"""Suggests changes when no series is long enough for a training window."""

from params.schema import RunParams
from tasks.validate.profile import Profile


def what_fits(run: RunParams, profile: Profile) -> str:
    """What a window needs, the rows of the longest series, and each change that would suffice by itself."""
    window = run.windows.window_params()
    best = profile.series.sort("training_rows", "steps", "unique_id", descending=[True, True, False]).row(0, named=True)
    rows, behind, ahead = best["training_rows"], window.behind + 1, window.ahead
    name, where = repr(best["unique_id"])[1:-1], "" if profile.split_problem else " before validation begins"
    fits = []
    if rows > ahead:
        deepest = max(window.features, key=lambda feature: window.features[feature].reach)
        fits.append(f"let no feature reach back over more than {rows - ahead} rows ({deepest} has {behind})")
    if rows > behind + window.gap:
        fits.append(f"shorten windows.horizon to {rows - behind - window.gap}")
    most = _most_held_out(run, profile, best["steps"], best["last"])
    if most is not None:
        fits.append(f"let validation, test and embargo take at most {most} rows (now {best['steps'] - rows})")
    return (
        f"no series is long enough: one training window needs {behind + ahead} rows{where} ({behind} up to the cutoff, {ahead} "
        f"after it), and the longest, {name}, has {rows} (of {best['steps']}): {', or '.join([*fits, 'give longer history'])}"
    )


def _most_held_out(run: RunParams, profile: Profile, steps: int, last: object) -> int | None:
    """The most rows that may be held out at a series' end; None if no split fits, or it ends early."""
    window, horizon = run.windows.window_params(), run.windows.horizon
    if profile.split_problem or (isinstance(run.split.test, str) and last != profile.table["last"].item()):
        return None
    most = steps - window.behind - 1 - window.ahead
    embargo = profile.frequency.rows_in(run.split.embargo)
    return most if most >= 2 * (horizon + embargo) else None
