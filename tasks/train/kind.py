"""What a row of a leaderboard or a run in MLflow stands for."""

from enum import StrEnum


class Kind(StrEnum):
    """What a row of a leaderboard or a run in MLflow stands for."""

    VARIANT = "variant"
    FOLD = "fold"
    REFIT = "refit"
    REFIT_ALL = "refit-all"
    ENSEMBLE = "ensemble"
    BASELINE = "baseline"
    TRIAL = "trial"
