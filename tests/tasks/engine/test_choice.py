"""LAGLINE_ENGINE."""

import pytest

from params.errors import UserError
from tasks.engine.choice import engine


def test_fits_run_here_unless_another_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (None, "", " local "):
        monkeypatch.delenv("LAGLINE_ENGINE", raising=False)
        if word is not None:
            monkeypatch.setenv("LAGLINE_ENGINE", word)
        assert engine().name == "local" and engine().here
    monkeypatch.setenv("LAGLINE_ENGINE", "dask")
    with pytest.raises(UserError, match="LAGLINE_ENGINE=dask: there is no such engine; write one of: local, ray"):
        engine()
