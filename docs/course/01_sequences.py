"""Sequences: what is lost when the order is lost"""

# %% [markdown]
# # 1. Sequences
#
# Most machine learning looks at examples one at a time: this photo, that patient. Shuffle the examples and
# nothing changes. This course is about data for which that is not true. Our question for this lesson:
# **what exactly does order add, and how do we measure it?**
#
# A *sequence* is an enumerated collection a[1], a[2], ... a[n]. Two things set it apart from a set:
#
# - **Order matters.** The same members in another order are another sequence.
# - **Repetitions are allowed.** The same member may come twice, and each time it counts.

# %%
import numpy as np
import polars as pl

from docs.course.lab import picture, weather
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN

word = "banana"
assert set(word) == set("ban")  # as sets, the two words are the same
assert sorted(word) == sorted("nabana")  # with repetitions, but without order, they still are
assert list(word) != list("nabana")  # as sequences, they are not

# %% [markdown]
# Once you look for them, sequences are everywhere: prices, stocks of goods, sound, language. Here are four.
# What they share is the horizontal axis: a position that counts up, one step at a time.

# %% fold
prices = [123.654, 125.455, 108.584, 118.674, 121.338, 120.655, 121.795, 123.033, 124.049, 125.961]
rng = np.random.default_rng(0)
stock, level = [], 60
for sold in rng.poisson(9, 30):
    level = level - sold if level >= sold else 60  # an order refills the shelf
    stock.append(level)
moments = np.linspace(0, 1, 200)
sound = np.sin(2 * np.pi * (3 + 8 * moments) * moments)
letters = [ord(letter) - ord("a") for letter in "order" + "matters"]

figure, axes = picture(7.4, 4.6, 2, 2)
figure.suptitle("Four sequences")
for ax, values, name, step in zip(
    axes.ravel(),
    (prices, stock, sound, letters),
    ("A price", "An inventory", "A sound, rising", "Two words, as letters"),
    ("day", "day", "sample", "letter"),
    strict=True,
):
    ax.plot(range(1, len(values) + 1), values, color=CHOSEN, marker="o" if len(values) < 20 else None, markersize=4)
    ax.set_title(name, loc="left", fontsize=10)
    ax.set_xlabel(step)
axes[1, 1].set_yticks([0, 12, 25], ["a", "m", "z"])
figure

# %% [markdown]
# ## A real one
#
# From here on we use a table that comes with lagline: the weather at the three airports of New York in
# 2013, one row per hour. This is the temperature at JFK, in degrees Fahrenheit.

# %%
jfk = weather("JFK")
temperature = jfk["temp"].drop_nulls().to_numpy()
print(f"{len(temperature):,} hours, {len(np.unique(temperature))} different values")

# %% [markdown]
# Thousands of hours, but fewer than two hundred different values: repetitions are the rule. So a list of
# *which* temperatures occurred says almost nothing. To see how much the order adds, we destroy it and keep
# all else: we shuffle the hours.

# %%
shuffled = np.random.default_rng(1).permutation(temperature)
assert len(np.unique(temperature)) < 200 and len(temperature) > 8000  # repetitions are the rule
assert np.array_equal(np.sort(shuffled), np.sort(temperature))  # the same values, each as often

# %% fold
week = slice(4000, 4168)
hours = np.arange(168)
figure, axes = picture(7.4, 4.4, 2, 1, sharex=True, sharey=True)
figure.suptitle("One week, and the same number of hours from the shuffled year")
axes[0].plot(hours, temperature[week], color=ACTUAL)
axes[0].set_title("in order", loc="left", fontsize=10)
axes[1].plot(hours, shuffled[week], color=BAR, linewidth=0.9)
axes[1].set_title("shuffled", loc="left", fontsize=10)
axes[1].set_xlabel("hour")
axes[1].set_xticks(range(0, 169, 24))
for ax in axes:
    ax.set_ylabel("°F")
figure

# %% [markdown]
# Mean, spread, smallest and largest value are the same for both. And yet a child could continue the upper
# curve, and nobody could continue the lower one.
#
# ## Measuring what order adds
#
# Let us turn "could continue it" into a number. The simplest forecast there is says: *the next value is the
# last one*. We compare its mean absolute error (MAE) on both sequences.


# %%
def error_of_last_value(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values)).mean())


in_order, out_of_order = error_of_last_value(temperature), error_of_last_value(shuffled)
print(f"MAE of the last value, in order:  {in_order:5.2f} °F")
print(f"MAE of the last value, shuffled:  {out_of_order:5.2f} °F")
assert out_of_order > 10 * in_order

# %% [markdown]
# The same values, the same forecast; only the order differs, and with it the error changes more than
# tenfold. That ratio is the information in the order.
#
# How far does it reach? The *autocorrelation* at lag k compares each value with the one k steps before: 1
# means that they always move together, 0 that one says nothing about the other.


# %%
def autocorrelation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


lags = np.arange(1, 97)
changes = temperature[24:] - np.convolve(temperature, np.ones(24) / 24, "valid")[: len(temperature) - 24]
seen = [autocorrelation(changes, lag) for lag in lags]  # against the mean of the 24 hours before
lost = [autocorrelation(shuffled, lag) for lag in lags]

# %% fold
figure, ax = picture(7.4, 3.2)
ax.set_title("How much an hour says about a later one (temperature against the day before)", loc="left", fontsize=11)
ax.axhline(0, color=ACTUAL, linewidth=0.8)
ax.plot(lags, seen, color=CHOSEN)
ax.plot(lags, lost, color=BAR, linewidth=0.9)
ax.text(25, seen[23] + 0.06, "in order", color=CHOSEN)
ax.text(60, 0.08, "shuffled", color=BAR)
ax.set_xlabel("lag in hours")
ax.set_ylabel("autocorrelation")
ax.set_xticks(range(0, 97, 12))
figure

# %% [markdown]
# Two kinds of memory are visible. *Short*: an hour resembles the next. *Repeating*: it also resembles the
# same hour of the next day, more than the hours in between. Shuffled, both are gone. Every network of this
# course is a way to use one or both.

# %%
assert seen[0] > 0.9  # short memory
assert seen[23] > seen[11] + 0.3  # a day later resembles more than half a day later
assert max(map(abs, lost)) < 0.05  # nothing is left

# %% [markdown]
# ## The same in lagline
#
# lagline reads tables in *long* form: one row per series and time step, with three columns that it calls
# `unique_id` (which series), `ds` (when) and `y` (what is to be forecast). The order is in `ds`, so the
# rows of the file may come in any order; a missing hour is a gap and does not close up.

# %%
long = jfk.select(unique_id="origin", ds="time_hour", y="temp")
assert long.columns == ["unique_id", "ds", "y"]
assert long.sample(fraction=1.0, shuffle=True, seed=0).sort("ds").equals(long)  # time brings the order back
long.select("unique_id", pl.col("ds").dt.strftime("%Y-%m-%d %H:%M"), "y").head(4)

# %% [markdown]
# ## What to keep
#
# - A sequence is ordered and may repeat itself. Shuffling keeps every statistic of the values and destroys
#   the rest.
# - What order adds can be measured: compare a forecast that uses it with one that cannot.
# - "The last value again" is a serious opponent. Whoever does not beat it has learnt nothing; lagline
#   always runs it.
#
# **Try it yourself.** Replace the temperature by the `pressure` column (drop its missing values). Does it
# remember longer or shorter than the temperature? Does it know what a day is?
#
# Next: [Univariate and multivariate](02_univariate_and_multivariate.md), where one sequence is not enough.
