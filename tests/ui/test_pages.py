"""flows/runtime/ui.py in a browser: MLflow's pages of a comparison and the report; every figure is computed here once more."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.tracking import view as addresses

pytestmark = [pytest.mark.ui, pytest.mark.slow]
Read = Callable[[Any, str], dict[str, str]]
CLOSE = 1e-5  # MLflow has six digits of a score; and the forecasts are kept in single precision


def cells(page: Any, column: str) -> dict[str, str]:
    """Run -> text of a column of MLflow's table of runs, from top to bottom."""
    found = page.locator(f".ag-center-cols-container [role=row] [col-id='{column}']")
    return {cell.locator("xpath=..").get_attribute("row-id"): cell.text_content() for cell in found.all()}


def open_table(page: Any, pages: Any) -> None:
    """The page of the experiment, once all runs stand in its table."""
    page.goto(addresses.experiment_url(pages.base, pages.experiment))
    page.locator(".ag-center-cols-container [role=row]").nth(len(pages.runs) - 1).wait_for()


def best(pages: Any, count: int) -> list[str]:
    """The best on test among the first fits of the variants."""
    return sorted((name for name in pages.trained if pages.variants[name] == name), key=pages.mae.__getitem__)[:count]


def test_the_experiment_shows_every_fit_with_its_scores_the_best_first(page: Any, pages: Any, shots: Path) -> None:
    open_table(page, pages)
    page.get_by_role("link", name="Model registry").wait_for()  # the side for training, not the one for language models
    scores = ("best_val_mae", "test_mae", "test_skill", "test_interval_score_90", "train_seconds")
    for name in ("variant", "family", "seed", *scores):
        assert page.get_by_test_id(f"sort-header-{name}").is_visible()
    order = [float(text) for text in cells(page, "metrics.`best_val_mae`").values()]
    assert order == sorted(order)
    told = {run: float(text) for run, text in cells(page, "metrics.`test_mae`").items()}
    assert told == pytest.approx({run: pages.mae[name] for name, run in pages.runs.items()}, rel=CLOSE)
    assert cells(page, "params.`variant`") == {run: pages.variants[name] for name, run in pages.runs.items()}
    page.screenshot(path=shots / "experiment.png")


def test_the_charts_draw_the_curves_and_the_errors(page: Any, pages: Any, shots: Path) -> None:
    page.goto(addresses.experiment_url(pages.base, pages.experiment, charts=True))
    card = page.get_by_test_id("experiment-view-compare-runs-card")
    curves, bars = (card.filter(has=page.get_by_text(name, exact=True)) for name in ("val_mae", "test_mae"))
    curves.locator(".scatterlayer .trace").first.wait_for()
    assert curves.locator(".scatterlayer .trace").count() > 1
    card.filter(has=page.get_by_text("test_mae_by_step", exact=True)).locator(".scatterlayer .trace").first.wait_for()
    page.screenshot(path=shots / "charts.png")
    bars.scroll_into_view_if_needed()  # a chart is drawn when it comes into sight
    bars.locator(".bartext").first.wait_for()
    assert sorted(bars.locator(".bartext").all_text_contents()) == sorted(f"{error:.2f}" for error in pages.mae.values())


def set_axes(page: Any, params: str, *metrics: str) -> None:
    """Other axes for the plot of the page that compares; MLflow takes the first params and the first metric of the alphabet."""
    page.get_by_role("button", name="Clear All").click()
    for place, name in ((0, params), *((1, metric) for metric in metrics)):
        box = page.get_by_role("combobox").nth(place)
        box.click()  # it takes no text before
        box.fill(name)
        page.locator(".du-bois-light-select-item-option", has_text=re.compile(f"^{name}$")).last.click()
    page.keyboard.press("Escape")


# both halves of a long table, names and figures, are moved on: a wheel would move the page as well
SCROLL = """grid => [...grid.parentElement.parentElement.querySelectorAll('*')]
    .filter(one => one.scrollHeight > one.clientHeight + 5 && getComputedStyle(one).overflowY != 'visible')
    .forEach(one => one.scrollTop += 90)"""


def compared(page: Any, metric: str) -> list[float]:
    """The figures of a metric on the page that compares, in the order of its runs.  Its long tables hold what is in sight."""
    grid = page.get_by_role("grid").filter(has=page.get_by_text("best_val_mae", exact=True)).last.element_handle()
    name = page.get_by_role("grid").get_by_text(metric, exact=True)
    for _ in range(100):
        if name.count():
            break
        grid.evaluate(SCROLL)
        page.wait_for_timeout(100)
    row = name.locator("xpath=..").evaluate("cell => cell.style.top")
    cells = name.locator("xpath=ancestor::*[@role='grid'][1]/../..").locator(f"[style*='top: {row};']")
    return [float(text) for text in cells.all_inner_texts() if text != metric]


def test_three_variants_lie_side_by_side(page: Any, pages: Any, shots: Path) -> None:
    open_table(page, pages)
    chosen = best(pages, 3)
    for name in chosen:
        page.locator(f".ag-pinned-left-cols-container [row-id='{pages.runs[name]}']").get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    title = page.get_by_text("Comparing 3 Runs from 1 Experiment")
    title.wait_for()
    page.goto(f"{page.url}&workflowType=machine_learning")  # the button forgets on which side we are
    opened = page.locator(".du-bois-light-select-selection-item")
    opened.first.wait_for()
    assert opened.all_inner_texts()[-1] == "val_mae"  # and not what the processor did
    set_axes(page, "variant", "best_val_mae", "test_mae")
    page.locator(".js-plotly-plot .parcoords").first.wait_for()
    title.scroll_into_view_if_needed()
    page.screenshot(path=shots / "compare.png")
    told = compared(page, "test_mae")
    assert sorted(told) == pytest.approx([pages.mae[name] for name in chosen], abs=0.0006)  # three digits are shown


def test_the_report_stands_among_the_artifacts(page: Any, pages: Any, table: Read, shots: Path) -> None:
    page.goto(addresses.run_url(pages.base, pages.experiment, pages.parent, pages.report.name))
    inside = page.frame_locator("iframe").first
    inside.locator("table").first.wait_for()
    chooser = inside.locator("#chooser-drawing path.model")  # its frame is a sandbox in which scripts may run
    chooser.wait_for()
    page.screenshot(path=shots / "artifact.png")
    assert table(inside, "test MAE") == {name: f"{error:.3f}" for name, error in pages.of_variant().items()}


def test_the_report_stands_alone(page: Any, pages: Any, table: Read, shots: Path) -> None:
    asked, said = [], []
    page.goto("about:blank")  # what the page before still asks for is none of the report's
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.context.set_offline(True)
    page.goto(pages.report.as_uri())
    assert table(page, "test MAE") == {name: f"{error:.3f}" for name, error in pages.of_variant().items()}
    drawn = page.locator("img").evaluate_all("images => images.map(image => image.complete && image.naturalWidth > 0)")
    assert all(drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1600
    page.screenshot(path=shots / "report.png", full_page=True)
    assert [url for url in asked if not url.startswith("data:")] == [pages.report.as_uri()]
    assert said == []


def test_a_forecast_is_chosen_by_keyboard_and_its_numbers_are_those_of_the_file(page: Any, pages: Any, shots: Path) -> None:
    page.goto(pages.report.as_uri())
    page.locator("#chooser-series").focus()
    page.keyboard.press("Home")
    page.locator("#chooser-drawing").focus()
    page.keyboard.press("ArrowLeft")
    said = page.locator("#chooser-said").inner_text()
    found = re.fullmatch(r"(\w+) from (\S+ \S+): mean error of (\S+) ([\d.]+), of (\S+) ([\d.]+); (\d+) of \d+ .*", said)
    assert found, said
    series, cutoff, model, ours, other, theirs, inside = found.groups()
    rows = pl.read_parquet(pages.report.with_name("forecasts.parquet")).filter(pl.col("unique_id") == series)
    times = rows["cutoff"].dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%d %H:%M")
    assert cutoff == times.unique().sort()[-2]  # one before the newest
    rows = rows.filter(times == cutoff)
    for name, error in ((model, ours), (other, theirs)):
        assert float(error) == pytest.approx((rows["y"] - rows[name]).abs().mean(), rel=1e-3)
    held = rows.select(pl.col("y").is_between(f"{model}-lo-90", f"{model}-hi-90").sum()).item()
    assert held == int(inside)
    page.screenshot(path=shots / "chosen.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_page(page: Any, pages: Any, shots: Path, scheme: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.goto(pages.report.as_uri())
    page.locator("#chooser-drawing path.model").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.screenshot(path=shots / f"phone-{scheme}.png", full_page=True)


def test_without_scripts_a_picture_stands_in_the_place_of_the_chooser(browser: Any, pages: Any, shots: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages.report.as_uri())
    assert page.locator("#chooser-still img").is_visible() and not page.locator("#chooser-box").is_visible()
    page.get_by_role("link", name="Cost", exact=True).click()
    page.locator("#cost table").wait_for()  # a link opens what it leads to
    page.screenshot(path=shots / "noscript.png")
    context.close()
