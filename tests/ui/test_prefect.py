"""flows/runtime/ui.py in a browser: Prefect's pages of a comparison, and what those see who have no key."""

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ui, pytest.mark.slow]
PHONE = {"width": 390, "height": 844}


def plain(link: str) -> str:
    return link.split("/?key=")[0]


@pytest.fixture
def stranger(browser: Any) -> Any:
    """A page of a browser that has been let in nowhere, and the hosts that it asked for anything."""
    context, hosts = browser.new_context(viewport=PHONE), set()
    context.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    yield context.new_page(), hosts
    context.close()


def test_a_run_of_a_comparison_is_read_in_prefect_with_the_printed_key(pages: Any, stranger: Any, shots: Path) -> None:
    page, hosts = stranger
    page.set_viewport_size({"width": 1600, "height": 1000})
    page.goto(plain(pages.prefect))
    page.locator("input[type=password]").fill("lagline:wrong")
    page.get_by_role("button", name="Login").click()
    page.get_by_text("Invalid credentials").first.wait_for()
    page.locator("input[type=password]").fill(pages.prefect_key)
    page.get_by_role("button", name="Login").click()
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name=re.compile("^compare [a-z]")).first.click()
    page.get_by_role("tab", name="Logs").click()
    for line in ("check the data ...", "left out: feature wind_gust"):  # the tab holds what is in sight
        page.get_by_text(line).first.wait_for()
    page.screenshot(path=shots / "prefect-logs.png")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name=re.compile("leaderboard")).click()
    page.locator("a[href*='artifacts/artifact/']").first.click()
    page.get_by_role("cell", name=re.compile("^ridge")).first.wait_for()
    page.screenshot(path=shots / "prefect-artifact.png")
    assert hosts == {plain(pages.prefect).removeprefix("http://")}  # and not those who count its visitors


def test_the_link_to_prefect_needs_no_typing(pages: Any, stranger: Any, shots: Path) -> None:
    page, _ = stranger
    page.goto(pages.prefect)
    page.get_by_text("Flow Runs").first.wait_for()
    assert "key=" not in page.url
    page.screenshot(path=shots / "prefect-phone.png")


def test_without_the_key_mlflow_says_how_to_get_in(pages: Any, stranger: Any, shots: Path) -> None:
    page, hosts = stranger
    answer = page.goto(pages.base)
    assert answer.status == 401 and page.get_by_text("open the link that").is_visible()
    page.screenshot(path=shots / "mlflow-closed-phone.png")
    page.goto(pages.link)
    page.get_by_text("Experiments").first.wait_for()
    assert "key=" not in page.url
    assert hosts == {pages.base.removeprefix("http://")}


def test_a_page_of_another_port_cannot_write_with_our_cookie(page: Any, pages: Any) -> None:
    """It counts as the same site, so that the browser sends the cookie along."""
    page.goto(plain(pages.prefect))
    page.route("**/other", lambda route: route.fulfill(body="<p>other</p>", content_type="text/html"))
    page.goto(f"{plain(pages.prefect)}/other")
    with page.expect_response("**/experiments/create") as answer:
        page.evaluate(
            """address => {
                document.body.innerHTML = `<form method="post" action="${address}"></form>`
                document.forms[0].submit()
            }""",
            f"{pages.base}/ajax-api/2.0/mlflow/experiments/create",
        )
    assert answer.value.status == 403 and "lagline-" in answer.value.request.all_headers()["cookie"]


def test_a_link_from_elsewhere_leads_in_too(pages: Any, stranger: Any, tmp_path: Path) -> None:
    page, _ = stranger
    (tmp_path / "mail.html").write_text(f'<a href="{pages.link}">look</a>')
    page.goto((tmp_path / "mail.html").as_uri())
    page.get_by_text("look").click()
    page.get_by_text("Experiments").first.wait_for()
    assert "key=" not in page.url
