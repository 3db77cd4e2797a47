"""The command line in less time, as tests/flows/ has it."""

from tests.flows.conftest import empty, new_home, prefect_api, warm

__all__ = ["empty", "new_home", "prefect_api", "warm"]
