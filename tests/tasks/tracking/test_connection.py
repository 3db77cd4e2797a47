"""A store that cannot be reached at all: one message, without the password; never a server that goes away later."""

import sys
from pathlib import Path

import pytest

from params.errors import UserError
from tasks.tracking import connection

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's own imports


@pytest.mark.parametrize(("scheme", "module"), [("postgresql", "psycopg2"), ("mysql", "MySQLdb")])
def test_a_database_whose_driver_is_not_installed_is_one_message(
    scheme: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://user:secret@127.0.0.1:9/x")
    connection.client.cache_clear()
    with pytest.raises(
        UserError, match=rf"MLFLOW_TRACKING_URI={scheme}://.*: the driver of this database is missing \({module}\)"
    ) as error:
        connection.connect(tmp_path)
    connection.client.cache_clear()
    assert "secret" not in str(error.value) and "***" in str(error.value)
