"""The networks, one family a file: [batch, lookback, features] in, [batch, horizon, outputs] out."""
