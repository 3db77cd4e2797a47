"""The networks, one family per file: [batch, lookback, features] in, [batch, horizon, outputs] out."""
