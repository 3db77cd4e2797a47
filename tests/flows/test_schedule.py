"""What a schedule is told is checked before anything is served: one message, and no server that stays."""

import pytest

from flows.schedule import check_cron
from params.errors import UserError


@pytest.mark.parametrize("zone", ["Foo/Bar", "", "europe/berlin", "../UTC"])
def test_a_zone_that_there_is_not_is_refused(zone: str) -> None:
    check_cron("0 6 * * *", "UTC")
    check_cron("0 6 * * *", "Europe/Berlin")
    with pytest.raises(UserError, match=f"--timezone '{zone}': there is no such zone; write one such as Europe/Berlin"):
        check_cron("0 6 * * *", zone)


@pytest.mark.parametrize("cron", ["", "daily", "0 6 * *"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(UserError, match="write minute, hour, day, month and weekday"):
        check_cron(cron, "UTC")


def test_a_wrong_zone_ends_serve_before_anything_is_due(warm, refused, tmp_path) -> None:
    done = warm("serve", "params/smoke.yaml", "--timezone", "Foo/Bar", home=tmp_path / "home")
    refused(done, 2, "--timezone 'Foo/Bar': there is no such zone")
    assert "due at" not in done.stdout
