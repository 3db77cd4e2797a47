"""The time axis: frequencies, times, calendar, split."""
