"""What no number of a table may be, in the words that checks, training and `models/serving.py` share (which has a copy)."""

MOST = 1e30  # either way: beyond it a square does not fit a 32-bit float
LOG1P = -1.0  # the logarithm of 1 + y needs a target above this
REFUSED = {
    "text": "text where numbers are needed",
    "infinite": "infinite values: mend the source, or leave the value empty where it is not known",
    "huge": "values beyond 1e30: give it another unit, or leave the value empty where it is not known",
    "log1p": "scaling.target: log1p is not defined at -1 and below: take asinh, or mend the rows",
}
