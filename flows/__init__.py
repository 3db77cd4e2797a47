"""Flows decide when steps run and in what order: chaining, schedules, the command line, local servers."""

from flows.runtime.state import be_silent

be_silent()  # before any other import, whether our command line or a Prefect worker imports a flow
