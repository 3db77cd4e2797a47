"""Numbers a table may not contain, with their messages (copied in `models/serving.py`)."""

MOST = 1e30  # in absolute value: beyond it a square overflows a 32-bit float
LOG1P = -1.0  # the logarithm of 1 + y needs a target above this
REFUSED = {
    "text": "text where numbers are needed",
    "infinite": "infinite values: correct the source, or leave the value empty where it is not known",
    "huge": "values beyond 1e30: give it another unit, or leave the value empty where it is not known",
    "log1p": "scaling.target: log1p is not defined at -1 and below: take asinh, or correct the rows",
}
