"""Hints from column names: an amount to forecast, a driver such as a price, values known ahead."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import IntEnum

TIME_NAMES = ("ds", "timestamp", "datetime", "date", "time", "period", "t", "step", "week", "month", "year", "hour", "day")
ID_NAMES = ("unique_id", "item_id", "series_id", "id", "series", "name", "item", "sku", "store", "station", "product", "sensor")
CALENDAR_NAMES = {
    *("hour", "hr", "weekday", "dayofweek", "day_of_week", "dow", "day", "dayofyear", "week", "weekofyear", "month", "mnth"),
    *("quarter", "year", "yr"),
}

TARGETS = ("y", "target", "label")  # matched as a whole name
AMOUNTS = (  # likeliest first
    *("sales", "sold", "demand", "load", "consumption", "units", "quantity", "qty", "volume", "count", "cnt", "orders"),
    *("revenue", "turnover", "visitors", "passengers", "customers", "guests", "arrivals", "departures", "trips", "rides"),
    *("rentals", "bookings", "reservations", "transactions", "tickets", "calls", "clicks", "views", "pageviews", "visits"),
    *("sessions", "downloads", "shipments", "deliveries", "traffic", "occupancy", "admissions", "patients", "cases", "deaths"),
    *("births", "usage", "energy", "kwh", "mwh", "power", "generation", "production", "output", "inflow", "outflow", "flow"),
    *("verkauf", "verkaufe", "umsatz", "absatz", "menge", "stuckzahl", "anzahl", "verbrauch", "nachfrage", "besucher"),
    *("ventes", "quantite", "consommation", "demande", "visiteurs", "passagers", "ventas", "cantidad", "consumo", "demanda"),
    *("unidades", "visitantes", "pasajeros", "vendas", "quantidade", "vendite", "quantita", "domanda", "verkoop", "aantal"),
    *("omzet", "verbruik", "sprzedaz", "ilosc"),
)
GENERAL = ("value", "amount", "total", "observation", "measurement", "reading", "wert", "valeur", "valor", "valore")
WEATHER = {
    *(
        "temperature",
        "temp",
        "atemp",
        "humidity",
        "hum",
        "humid",
        "dewpoint",
        "dewp",
        "dew",
        "wind",
        "windspeed",
        "gust",
        "rain",
    ),
    *("rainfall", "precip", "precipitation", "snow", "snowfall", "pressure", "pres", "cloud", "clouds", "weather", "sunshine"),
    *("radiation", "irradiance", "visib", "visibility", "uv", "temperatur", "wetter", "regen", "meteo", "sun"),
}
RATES = {  # prices, and ratios to something else
    *("price", "cost", "rate", "index", "idx", "share", "pct", "percent", "percentage", "ratio", "factor", "discount", "tax"),
    *("fee", "tariff", "fare", "markdown", "cpi", "unemployment", "inflation", "gdp", "interest", "fuel", "exchange", "rank"),
    *("preis", "kosten", "prix", "cout", "precio", "preco", "prezzo", "prijs", "cena", "rabatt", "anteil", "kurs", "zins"),
    *("taux", "tasa", "tasso", "wechselkurs"),
}
OTHERS = {  # names, places, sizes, switches, and values computed from a target
    *("id", "key", "code", "zip", "postcode", "plz", "weight", "latitude", "lat", "longitude", "lon", "lng", "altitude", "x"),
    *("elevation", "setpoint", "capacity", "size", "area", "sqft", "sqm", "population", "distance", "gewicht", "flag", "is"),
    *(
        "has",
        "promo",
        "promotion",
        "onpromotion",
        "coupon",
        "campaign",
        "holiday",
        "event",
        "open",
        "closed",
        "school",
        "feiertag",
    ),
    *("aktion", "lag", "lagged", "rolling", "forecast", "forecasted", "predicted", "prediction", "pred", "yhat", "plan"),
    *("planned", "budget", "version", "cluster", "class", "type", "category", "grade", "nbr"),
}
AHEAD = {  # often known ahead
    *("promo", "promotion", "onpromotion", "coupon", "campaign", "holiday", "event", "price", "discount", "markdown", "open"),
    *("closed", "school", "tariff", "fare", "planned", "plan", "schedule", "scheduled", "forecast", "preis", "prix", "precio"),
    *("preco", "prezzo", "prijs", "cena", "feiertag", "ferien", "aktion", "rabatt", "vacation", "workingday", "weekend"),
}
ENTITIES = {  # words for the things that series belong to
    *("id", "nbr", "nr", "no", "number", "num", "code", "key", "series", "item", "sku", "article", "product", "store", "shop"),
    *("dept", "department", "outlet", "branch", "site", "station", "sensor", "meter", "device", "machine", "line", "plant"),
    *("household", "building", "room", "warehouse", "hub", "city", "state", "country", "region", "zone", "area", "district"),
    *("route", "stop", "channel", "category", "family", "brand", "model", "class", "account", "client", "ticker", "symbol"),
    *(
        "fund",
        "vehicle",
        "node",
        "link",
        "asset",
        "customer",
        "user",
        "group",
        "location",
        "loc",
        "market",
        "segment",
        "filiale",
    ),
    *("artikel", "produkt", "kunde", "standort", "tienda", "producto", "magasin", "produit", "negozio", "prodotto", "winkel"),
}
CATEGORY = {
    "type",
    "class",
    "category",
    "cluster",
    "region",
    "zone",
    "group",
    "state",
    "city",
    "code",
    "country",
    "family",
    "id",
}
WHOLE_UNIT = 5  # shortest hint that may end a longer word: Stromverbrauch


class Likely(IntEnum):
    """How likely a numeric column is the target, by its name; likeliest first."""

    CALLED_TARGET = 0
    AMOUNT = 1
    GENERAL = 2
    PLAIN = 3
    RATE = 4
    WEATHER = 5
    OTHER = 6


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, lower-case, without accents: StoreNbr, store_nbr and store-nbr give store, nbr."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("ł", "l"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"[kKMGT]?Wh?(?![a-z])", lambda unit: "_" + unit[0].lower(), plain)  # kWh is one word
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    return tuple(word for word in re.split(r"[\W_]+|(?<=[^\W\d_]{2})(?=\d)", apart.lower()) if word)


def _forms(word: str) -> tuple[str, ...]:
    """A word and its possible singulars."""
    plurals = (("ies", "y"), ("es", ""), ("s", ""), ("en", ""), ("e", ""))
    return (word, *(word[: -len(end)] + new for end, new in plurals if word.endswith(end)))


def place_of(name: str, hints: Sequence[str]) -> int | None:
    """The index of the first hint in a name as a word, singular or plural, or as a long word's end."""
    words = words_of(name)
    at = {hint: place for place, hint in reversed(list(enumerate(hints)))}
    places = [at[form] for word in words for form in _forms(word) if form in at]
    for word in words:
        places += [at[hint] for hint in at if len(hint) >= WHOLE_UNIT and word != hint and word.endswith(hint)]
    return min(places, default=None)


def says(name: str, hints: Iterable[str]) -> bool:
    """Whether a name contains one of the hints."""
    return place_of(name, tuple(hints)) is not None


def likely_target(name: str) -> tuple[Likely, int, int]:
    """A sort key for likely targets: by likelihood, then by hint, then by length of the name."""
    whole, length = name.strip().lower(), len(words_of(name))
    if whole in TARGETS:
        return Likely.CALLED_TARGET, TARGETS.index(whole), length
    if says(name, OTHERS) or re.search("set_?points?", "_".join(words_of(name))):
        return Likely.OTHER, 0, 0
    if says(name, RATES):
        return Likely.RATE, 0, 0
    for likely, hints in ((Likely.AMOUNT, AMOUNTS), (Likely.GENERAL, GENERAL)):
        if (place := place_of(name, hints)) is not None:
            return likely, place, length
    return (Likely.WEATHER if says(name, WEATHER) else Likely.PLAIN), 0, 0


def by_name(names: Sequence[str], hints: Sequence[str]) -> list[str]:
    """The names sorted: those that equal a hint, in its order, then those with a hint among their words."""

    def rank(name: str) -> tuple[int, int]:
        whole = name.lower()
        if whole in hints:
            return 0, hints.index(whole)
        place = place_of(name, hints)
        return (2, 0) if place is None else (1, place)

    return sorted(names, key=rank)
