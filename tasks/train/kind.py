"""The kinds of leaderboard rows and MLflow runs."""

from enum import StrEnum


class Kind(StrEnum):
    """What a leaderboard row or an MLflow run stands for."""

    VARIANT = "variant"
    FOLD = "fold"
    REFIT = "refit"
    REFIT_ALL = "refit-all"
    ENSEMBLE = "ensemble"
    BASELINE = "baseline"
    TRIAL = "trial"
