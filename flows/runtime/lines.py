"""The log lines of a flow run for the Logs tab of Prefect's page: sent in batches, let go where Prefect takes none."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prefect import get_run_logger
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogWorker, set_api_log_sink

PATIENCE = 5.0  # seconds for a batch; a run does not wait, nor end later, for the sake of its log


class _Sender(APILogWorker):
    """Prefect's own, which tries a batch for a minute, and an interpreter that ends waits for it."""

    async def _handle_batch(self, items: list[dict[str, Any]]) -> None:
        with suppress(Exception):
            await asyncio.wait_for(self._client.create_logs(items), PATIENCE)


def to_prefect() -> Callable[[str], None]:
    """Where the lines of the flow run at hand go, from any thread: to its log, and to that of a task that says them."""
    if FlowRunContext.get() is None:  # called without Prefect
        return lambda _: None
    set_api_log_sink(lambda line: _Sender.instance().send(line))
    flow = get_run_logger()

    def log(text: str) -> None:
        (get_run_logger() if TaskRunContext.get() else flow).info(text)

    return log
