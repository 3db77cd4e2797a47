"""Sends a flow run's log lines to Prefect's Logs tab in batches; drops them if Prefect accepts none."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prefect import get_run_logger
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogWorker, set_api_log_sink

PATIENCE = 5.0  # seconds for a batch; logging never delays a run


class _Sender(APILogWorker):
    """Prefect's worker with a short timeout: Prefect's own retries for a minute and delays the exit."""

    async def _handle_batch(self, items: list[dict[str, Any]]) -> None:
        with suppress(Exception):
            await asyncio.wait_for(self._client.create_logs(items), PATIENCE)


def to_prefect() -> Callable[[str], None]:
    """A function that logs a line to the current flow run, or task run, from any thread."""
    if FlowRunContext.get() is None:  # called without Prefect
        return lambda _: None
    set_api_log_sink(lambda line: _Sender.instance().send(line))
    flow = get_run_logger()

    def log(text: str) -> None:
        (get_run_logger() if TaskRunContext.get() else flow).info(text)

    return log
