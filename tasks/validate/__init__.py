"""The data checks: a profile of the table, rules on it, and a verdict."""
