"""WHEN, and in what order: chaining, schedules, the command line, child servers; never how a step is done."""

from flows.runtime.state import be_silent

be_silent()  # before anything else is imported, whoever imports a flow: our command line, or a worker of Prefect
