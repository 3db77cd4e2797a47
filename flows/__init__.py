"""WHEN, and in what order: chaining, schedules, the command line, child servers; never how a step is done."""
