"""Sliding windows: from a sequence to examples, each predictor with a window of its own"""

# %% [markdown]
# # 3. Sliding windows
#
# A network learns from pairs: an input, and the answer that it should give. A sequence has no pairs, only
# one long row of numbers. Our question: **how do we cut examples out of a sequence, without letting the
# future slip in?**
#
# The answer is a window that slides. It has a *width* (how many values go in; others say length, input
# width, and lagline *lookback*) and a *horizon* (how many values ahead are the answer; others say label
# width).

# %%
import numpy as np
import torch

from docs.course.lab import panel_of, picture, rows_of, windows_of
from models.data.batches import TimeseriesBatches
from models.data.window import FeatureWindow, WindowParams
from tasks.lags.table import lag_table
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, GRID, QUIET

PRICES = [123.654, 125.455, 108.584, 118.674, 121.338, 120.655, 121.795, 123.033, 124.049, 125.961]
week = WindowParams(horizon=1, features={"y": FeatureWindow(lookback=7)})
windows = windows_of(panel_of({"share": {"y": PRICES}}), week)
for batch in windows.batches(1):
    print(*(f"{value:.3f}" for value in batch.inputs.past_BLF[0, :, 0]), "->", f"{float(batch.y_BH[0, 0]):.3f}")

# %% [markdown]
# Ten daily prices, seven of which predict the eighth, make three examples. The window moves by one day each
# time.

# %% fold
figure, axes = picture(7.4, 3.4, 3, 1, sharex=True)
figure.suptitle("Seven prices go in, the eighth is the answer; then the window moves by one")
for start, ax in enumerate(axes):
    ax.plot(range(1, 11), PRICES, color=GRID, marker="o", zorder=1)
    ax.plot(range(start + 1, start + 8), PRICES[start : start + 7], color=CHOSEN, marker="o", label="window")
    ax.plot(start + 8, PRICES[start + 7], color=BAR, marker="o", linestyle="", label="answer")
    ax.set_yticks([])
axes[0].legend(loc="lower right", ncols=2, frameon=False, fontsize=9)
axes[-1].set_xlabel("day")
axes[-1].set_xticks(range(1, 11))
figure

# %%
assert len(windows) == 3
assert [round(float(batch.y_BH[0, 0]), 3) for batch in windows.batches(1)] == [123.033, 124.049, 125.961]

# %% [markdown]
# ## The same as a table of lags
#
# People prefer to see windows as a table: one row per example, with the value one step before the answer in
# the column `y_lag1`, two steps before in `y_lag2`, and so on. Take five measures: 100, 110, 108, 115, 120.
# With one lag and a horizon of 1, each measure meets the one before it:

# %%
measures = panel_of({"a": {"y": [100, 110, 108, 115, 120]}})
one_step = WindowParams(1, {"y": FeatureWindow(1)})
lag_table(measures, one_step).drop("unique_id")

# %% [markdown]
# The first row has an answer and nothing before it; the last row has a past and no answer yet. lagline
# shows such edges to people and never trains on them. (The last row is the one that you forecast from in
# real life!) With a horizon of 2 every row has two answers, and the edges grow:

# %%
two_steps = WindowParams(2, {"y": FeatureWindow(1)})
lag_table(measures, two_steps).drop("unique_id")

# %%
cells = rows_of(lag_table(measures, one_step), ["y_lag1", "y_step1"])
assert cells == [(None, 100), (100, 110), (110, 108), (108, 115), (115, 120), (120, None)]
cells = rows_of(lag_table(measures, two_steps), ["y_lag1", "y_step1", "y_step2"])
assert cells == [(None, 100, 110), (100, 110, 108), (110, 108, 115), (108, 115, 120), (115, 120, None), (120, None, None)]
assert lag_table(measures, two_steps, edges="drop").height == 3  # what a model could learn from

# %% [markdown]
# ## A window for each predictor
#
# Lesson 2 showed that several predictors can help. They need not look back equally far or equally often.
# Think of forecasting sales: of the sales themselves the last eight days matter; the price changes rarely,
# so every third day is enough; and the weather report arrives two days late. In lagline each feature has
# three numbers of its own:
#
# | | meaning |
# |---|---|
# | `lookback` | how many samples of it a window holds |
# | `sampling_rate` | how many rows lie between two samples |
# | `delay` | how many rows late it becomes known |

# %%
params = WindowParams(
    horizon=3,
    features={
        "y": FeatureWindow(lookback=8),
        "price": FeatureWindow(lookback=4, sampling_rate=3),
        "weather": FeatureWindow(lookback=5, delay=2),
    },
)
days = np.arange(20.0)  # each value is the number of its row, so that we can read off what a window sees
shop = panel_of({"shop": {"y": days, "price": 100 + days, "weather": 200 + days}})
first = next(windows_of(shop, params).batches(1))
past, answer = first.inputs.past_BLF[0], first.y_BH[0]
for column, name in enumerate(params.features):
    print(f"{name:8}", *("  -" if value.isnan() else f"{value:3.0f}" for value in past[:, column]))
print(f"{'answer':8}", *(f"{value:3.0f}" for value in answer))

# %% [markdown]
# Read it column by column, newest sample last. `price` fills only the four newest places, three rows apart;
# `weather` ends two rows early. The empty places (`-`) are masked: the network is told that nothing stands
# there. As a picture of rows:

# %% fold
origin = params.reach
read = {name: [origin - w.delay - w.sampling_rate * k for k in range(w.lookback)] for name, w in params.features.items()}
figure, ax = picture(7.4, 2.9)
ax.grid(visible=False)
ax.set_title("What one window reads (blue) and what it answers (orange)", loc="left")
for height, name in enumerate(reversed(read)):
    ax.scatter(range(20), [height] * 20, s=120, marker="s", color=GRID)
    ax.scatter(read[name], [height] * len(read[name]), s=120, marker="s", color=CHOSEN)
ax.scatter([origin + step for step in range(1, 4)], [2] * 3, s=120, marker="s", color=BAR)
ax.axvline(origin + 0.5, color=ACTUAL, linewidth=0.9)
ax.text(origin + 0.6, -0.6, "the future", fontsize=9)
ax.text(origin + 0.4, -0.6, "the past", fontsize=9, ha="right")
ax.set_yticks(range(3), list(reversed(read)))
ax.set_xticks(range(20))
ax.set_xlabel("row")
ax.set_ylim(-0.9, 2.5)
ax.spines[["left", "bottom"]].set_visible(False)
figure

# %% [markdown]
# The border between past and future is called the *cutoff* (or origin): the last row that a forecast may
# see. The rule, for an origin row t and a feature with lookback n, rate r and delay d: it reads the rows `t
# - d - r * (n - 1 - j)` for j = 0 ... n - 1, and the answers are the rows t + 1 ... t + h.

# %%
for column, window in enumerate(params.features.values()):
    values = past[:, column][~past[:, column].isnan()] % 100  # the row numbers
    n, r, d = window.lookback, window.sampling_rate, window.delay
    assert values.tolist() == [origin - d - r * (n - 1 - j) for j in range(n)]
    assert values.max() <= origin < answer.min()  # nothing of the future
assert answer.tolist() == [origin + 1, origin + 2, origin + 3]

# %% [markdown]
# The table of lags says the same with names: `price_lag1`, `price_lag4` ... for every third row, and no
# `weather_lag1`, which would not be known in time.

# %%
table = lag_table(shop, params, edges="drop")
assert [name for name in table.columns if name.startswith("price")] == ["price_lag10", "price_lag7", "price_lag4", "price_lag1"]
assert "weather_lag1" not in table.columns and "weather_lag3" in table.columns
assert table.height == len(windows_of(shop, params))
table.select("ds", "y_lag1", "price_lag4", "price_lag1", "weather_lag3", "y_step1", "y_step2", "y_step3").head(3)

# %% [markdown]
# ## Several series: no window crosses a border
#
# Three stocks, each with two features and six rows: in memory they lie one after another. A careless loop
# over the rows would build windows that begin in one stock and end in the next, and the network would learn
# nonsense. We cut windows of four rows (three in, one out) from all 18 rows, and ask each where it stands.

# %%
names = ("Alpha", "Beta", "Gamma")
stocks = {name: {"y": 10.0 * n + np.arange(6), "volume": 10.0 * n + np.arange(6)} for n, name in enumerate(names, 1)}
cut = windows_of(panel_of(stocks), WindowParams(1, {"y": FeatureWindow(3), "volume": FeatureWindow(3)}))
places = [cut.where(index) for index in range(len(cut))]
counts = {name: sum(place.unique_id == name for place in places) for name in stocks}
careless = 18 - 4 + 1
print(f"{careless} windows in a careless loop; {len(cut)} windows that stay in their stock: {counts}")

# %%
assert counts == {"Alpha": 3, "Beta": 3, "Gamma": 3}
for batch in cut.batches(1):
    whole = torch.cat([batch.inputs.past_BLF[0].flatten(), batch.y_BH[0].float()])
    assert (whole // 10).unique().numel() == 1  # the tens digit is the stock: one only

# %% fold
figure, ax = picture(7.4, 2.7)
ax.grid(visible=False)
ax.set_title("Nine windows in three stocks; none crosses a border", loc="left")
colours = dict(zip(stocks, (CHOSEN, BAR, "#009E73"), strict=True))
for number, name in enumerate(stocks):
    ax.text(6 * number + 2.5, 3.3, name, ha="center", color=colours[name])
for index, place in enumerate(places):
    ax.plot([place.first_row - 0.3, place.first_row + 3.3], [index % 3] * 2, color=colours[place.unique_id], linewidth=9)
    ax.plot(place.first_row + 3, index % 3, color="white", marker="o", markersize=5)
for border in (5.5, 11.5):
    ax.axvline(border, color=ACTUAL, linewidth=1)
ax.text(17.4, -0.8, "white point: the answer", fontsize=9, ha="right", color=QUIET)
ax.set_xticks(range(18), [f"T+{row % 6}" for row in range(18)], fontsize=8)
ax.set_yticks([])
ax.set_ylim(-1, 4)
ax.spines[["left"]].set_visible(False)
figure

# %% [markdown]
# A series of N rows gives (N - reach - h) / s windows, rounded up, where *reach* is how far the oldest
# sample lies back and the *stride* s is how many rows the window moves each time.

# %%
for rows, lookback, horizon, stride in ((6, 3, 1, 1), (100, 10, 5, 1), (100, 10, 5, 7), (50, 24, 6, 24)):
    some = WindowParams(horizon, {"y": FeatureWindow(lookback)})
    number = len(windows_of(panel_of({"a": {"y": np.arange(rows)}}), some, stride=stride))
    assert number == -(-(rows - some.reach - horizon) // stride)

# %% [markdown]
# ## A generator, and the contract of Keras
#
# If you come from Keras, you know `TimeseriesGenerator`. lagline keeps its contract: the same arguments
# give the same windows in the same batches. (The tests compare them bit for bit with the real class.) It
# hands out supervised examples, batch by batch, from the raw series.

# %%
series = np.arange(100, dtype=np.float32)
generator = TimeseriesBatches(series, series, length=10, sampling_rate=1, stride=1, batch_size=32, shuffle=False)
batches = list(generator)
print("batches:", [tuple(x.shape) for x, _ in batches])
x, y = batches[0]
print("first window:", x[0].tolist(), "->", float(y[0]))
assert [len(x) for x, _ in batches] == [32, 32, 26]
assert x[0].tolist() == list(range(10)) and float(y[0]) == 10

# %% [markdown]
# One trap: here `length` counts *rows*, not samples. With `length=10` and `sampling_rate=3` a window has
# four samples. lagline's `lookback` counts samples, and `WindowParams.from_keras` translates.

# %%
x, y = next(iter(TimeseriesBatches(series, series, length=10, sampling_rate=3)))
print(x[0].tolist(), "->", float(y[0]))
assert x[0].tolist() == [0, 3, 6, 9] and float(y[0]) == 10
assert WindowParams.from_keras(length=10, sampling_rate=3).features == {"y": FeatureWindow(4, sampling_rate=3)}

# %% [markdown]
# ## Windows cost almost nothing
#
# Written out, windows repeat each value as often as the lookback is long. lagline never writes them out: a
# window is only the number of its origin row, and values are gathered when a batch asks for them.

# %%
year = panel_of({"a": {"y": np.arange(8760.0)}})
wide = windows_of(year, WindowParams(24, {"y": FeatureWindow(336)}))
written_out = len(wide) * 336 * 4
kept = year.values.nbytes + year.target.nbytes + wide.origins.numpy().nbytes
print(f"{len(wide):,} windows of two weeks: {written_out / 1e6:.1f} MB written out, {kept / 1e6:.2f} MB as kept")
assert written_out > 50 * kept

# %% [markdown]
# ## What to keep
#
# - A window turns a sequence into examples: `lookback` samples in, `horizon` values out, then it moves by
#   the `stride`.
# - Each predictor has a window of its own: how many samples, how far apart, how late.
# - Nothing after the cutoff goes in, and no window crosses from one series to the next. Every comparison of
#   lagline checks the first with a *canary*: it spoils the future of some windows, and no forecast may
#   change.
#
# **Try it yourself.** Give `weather` a delay of 0 and look at the picture again. What changes if you add
# `gap=2` to `WindowParams`?
#
# Next: [The recurrent neuron](04_recurrent_neuron.md), which reads such a window one sample at a time.
