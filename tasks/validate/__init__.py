"""The data checks: a profile, rules on it, the verdict."""
