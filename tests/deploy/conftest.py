"""A whole stack for the tests of deploy/, and the command line."""

from collections.abc import Iterator

import pytest

from tests.deploy.stack import Stack
from tests.flows.conftest import empty as empty
from tests.flows.conftest import flows as flows
from tests.flows.conftest import new_home as new_home
from tests.flows.conftest import prefect_api as prefect_api
from tests.flows.conftest import warm as warm
from tests.postgresql import Postgres
from tests.tasks.conftest import nodes as nodes


@pytest.fixture(scope="session")
def stack(postgres: Postgres, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers, up."""
    for module, extra in (("flask_wtf", "auth"), ("ray", "ray")):
        pytest.importorskip(module, reason=f"the extra [{extra}] is not installed")
    found = Stack(postgres, tmp_path_factory.mktemp("stack"), request.getfixturevalue("nodes").address)
    try:
        found.start()
        yield found
    finally:
        found.stop()
