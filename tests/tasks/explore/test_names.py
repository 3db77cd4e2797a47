"""What names say: amounts before anything else, whatever the case, plural or language; prices and the like after them."""

import pytest

from tasks.explore.names import AHEAD, Likely, likely_target, says, words_of


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("sales", "price"),
        ("UnitSales", "unitPrice"),
        ("Weekly_Sales", "CPI"),
        ("item_cnt_day", "item_price"),
        ("NUM_SOLD", "discount_pct"),
        ("TotalDemandMWh", "Temperature"),
        ("kWh", "tariffs"),
        ("powerKW", "setPoint"),
        ("visitors", "latitude"),
        ("passenger_count", "catch_weight"),
        ("Volumes", "exchange_rate"),
        ("Stromverbrauch", "Preisindex"),
        ("Verkäufe", "Preise"),
        ("quantité", "prix"),
        ("ventas", "tasa_cambio"),
        ("load", "temp_set_point"),
        ("Qty", "order_id"),
        ("value", "humidity"),
        ("pm25", "wind_speed"),
        ("meter_reading", "share"),
        ("consumption", "sales_share"),
        ("y", "sales"),
        ("sales", "sales_lag_7"),
        ("demand", "demand_forecast"),
    ],
)
def test_an_amount_is_likelier_than_what_drives_it(better: str, worse: str) -> None:
    assert likely_target(better) < likely_target(worse)


def test_words_are_split_where_people_split_them() -> None:
    assert words_of("StoreNbr") == words_of("store_nbr") == words_of("store-nbr") == ("store", "nbr")
    assert words_of("PM2.5") == ("pm", "2", "5") and words_of("usage_kWh") == ("usage", "kwh")
    assert words_of("Größe") == ("grosse",)
    assert words_of("") == ()


def test_a_word_within_a_word_says_nothing() -> None:
    for name in ("salesperson", "workload", "blast", "lastname"):
        assert likely_target(name)[0] is Likely.PLAIN, name
    assert not says("opera", AHEAD) and says("onPromotion", AHEAD) and says("SchoolHoliday", AHEAD)
