"""Univariate and multivariate: when several things have to be understood at once"""

# %% [markdown]
# # 2. Univariate and multivariate
#
# One sequence on its own is called *univariate*. Often it is not enough: to understand a river you have to
# look at the rain. Several sequences on one clock, understood together, are *multivariate*. Our question:
# **when does a second sequence help, and how far ahead?**
#
# ## A river and its rain
#
# We make a small world whose laws we know. Rain falls on random days. A river rises three days after the
# rain and then slowly sinks. We forecast the river.

# %%
import numpy as np
import torch

from docs.course.lab import mae, panel_of, picture, targets, train, weather, windows_of
from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN

DAYS, LAG = 3000, 3
rng = np.random.default_rng(0)
rain = rng.exponential(1.0, DAYS) * (rng.random(DAYS) < 0.3)
river = np.zeros(DAYS)
for day in range(LAG, DAYS):
    river[day] = 0.7 * river[day - 1] + rain[day - LAG] + rng.normal(0, 0.05)

# %% fold
shown = np.arange(1000, 1040)
figure, axes = picture(7.4, 3.8, 2, 1, sharex=True)
figure.suptitle("Forty days: the river follows the rain three days later")
axes[0].bar(shown, rain[shown], color=CHOSEN, width=0.8)
axes[0].set_ylabel("rain")
axes[1].plot(shown, river[shown], color=ACTUAL)
axes[1].set_ylabel("river")
axes[1].set_xlabel("day")
figure

# %% [markdown]
# ## One sequence, or two
#
# lagline describes what a model may look at by `WindowParams`: which features, and how many samples of
# each. The two settings below differ only in the rain. The target, `y`, is the river in both, six days
# ahead.

# %%
HORIZON = 6
alone = WindowParams(HORIZON, {"y": FeatureWindow(10)})
together = WindowParams(HORIZON, {"y": FeatureWindow(10), "rain": FeatureWindow(10)})

split = Split("rows", validation=600, test=600)  # the last 1,200 days are not for training
panels = {
    "river alone": (panel_of({"river": {"y": river, "rain": rain}}, ["y"]), alone),
    "river and rain": (panel_of({"river": {"y": river, "rain": rain}}), together),
}

# %% [markdown]
# As the model we take the plainest one that lagline has: `ridge`, a linear regression on all values of the
# window (with a penalty that keeps its weights small). What we compare is the data, so the model stays the
# same.

# %%
errors = {}
for name, (panel, params) in panels.items():
    seen, held_out = (windows_of(panel, params, split, part) for part in ("train", "validation"))
    model = train("ridge", {}, seen, held_out, split)
    errors[name] = mae(model.forecasts(held_out), targets(held_out))
    print(f"{name:15}", *(f"day {step}: {error:.2f}  " for step, error in enumerate(errors[name], 1)))

# %% fold
figure, ax = picture(7.4, 3.4)
ax.set_title("Error of the forecast by day ahead", loc="left")
days = np.arange(1, HORIZON + 1)
for (name, values), colour in zip(errors.items(), (BAR, CHOSEN), strict=True):
    ax.plot(days, values, color=colour, marker="o")
    ax.text(1.06, values[0] + (0.03 if name == "river and rain" else -0.06), name, color=colour)
ax.axvline(LAG + 0.5, color=ACTUAL, linewidth=0.8, linestyle=":")
ax.text(LAG + 0.55, 0.05, "rain of these days has not fallen yet", fontsize=9)
ax.set_xlabel("days ahead")
ax.set_ylabel("MAE")
ax.set_ylim(0)
figure

# %% [markdown]
# The picture answers our question exactly. For three days ahead, the rain that matters **has already
# fallen**, and whoever sees it forecasts almost perfectly. After that it is rain that nobody knows yet.
# Look closely at the lower curve: from the fourth day on it is the upper one, moved three days to the
# right. Knowing the rain is like standing three days further in the future, no less and no more.
#
# This is the rule for every predictor: **it helps as far ahead as it leads.** A predictor that moves
# together with the target, and not before it, helps little, however well the two correlate.

# %%
apart, both = errors["river alone"], errors["river and rain"]
assert (both[:LAG] < 0.2 * apart[:LAG]).all()  # up to the lead: less than a fifth of the error
assert np.allclose(both[LAG:], apart[:-LAG], rtol=0.05)  # beyond: the errors of the first days, three days later

# %% [markdown]
# ## What a network receives
#
# A batch of windows is an array of three axes, which lagline writes as `past_BLF`: **B** windows in the
# batch, **L** samples back in time (the *lookback*), **F** features. Univariate means F = 1. Each network
# of this course takes any F, so going from one to several sequences changes the data and not the network.

# %%
for name, (panel, params) in panels.items():
    batch = next(windows_of(panel, params).batches(32))
    print(f"{name:15} past {list(batch.inputs.past_BLF.shape)}   targets {list(batch.y_BH.shape)}")
    assert batch.inputs.past_BLF.shape == (32, 10, len(params.features))
    assert torch.equal(batch.inputs.past_BLF[0, :, 0], torch.from_numpy(river[:10]).float())

# %% [markdown]
# ## Several features are not several series
#
# Two different things are easily mixed up:
#
# - **Several features** of one thing: temperature, dew point and pressure at *one* airport. They are
#   columns, and a window sees them together.
# - **Several series** of the same kind: the temperature at *three* airports. They are rows under different
#   names, and one network learns from all of them, each window from one.
#
# Real tables have both. The weather has three series, and here we give each three features.

# %%
airports = {
    name: {"y": table["temp"], "dewp": table["dewp"], "pressure": table["pressure"]}
    for name in ("EWR", "JFK", "LGA")
    for table in [weather(name)]
}
features = {"y": FeatureWindow(48), "dewp": FeatureWindow(48), "pressure": FeatureWindow(48)}
all_three = windows_of(panel_of(airports), WindowParams(24, features), stride=6)
batch = next(all_three.batches(32))
print(f"{len(all_three):,} windows of {len(airports)} series; one batch: {list(batch.inputs.past_BLF.shape)}")
assert batch.inputs.past_BLF.shape == (32, 48, 3)

# %% [markdown]
# ## And does it help here?
#
# An invented river proves nothing about the real weather. So we measure it: the temperature of JFK, 24
# hours ahead, from its own past, and with dew point and pressure.

# %%
jfk = {"y": airports["JFK"]["y"], "dewp": airports["JFK"]["dewp"], "pressure": airports["JFK"]["pressure"]}
border = Split("rows", validation=28 * 24, test=28 * 24)
measured = []
for names in (["y"], ["y", "dewp"], ["y", "dewp", "pressure"]):
    params = WindowParams(24, {name: FeatureWindow(48) for name in names})
    panel = panel_of({"JFK": jfk}, names)
    seen, held_out = (windows_of(panel, params, border, part) for part in ("train", "validation"))
    trained = train("ridge", {}, seen, held_out, border, level="last")
    measured.append(trained.val_mae)
    print(f"{' + '.join(names):20} MAE {trained.val_mae:.2f} °F")
assert measured[0] > measured[1] > measured[2]

# %% [markdown]
# Both predictors help, in this month. The air tells of tomorrow in its moisture and its pressure, before
# the thermometer does. But one month at one airport is little evidence: how to decide honestly between such
# numbers, on data that the choice has not seen, is the subject of the last lesson.
#
# ## What to keep
#
# - Multivariate: several sequences on one clock, seen together; in arrays, F > 1.
# - A predictor helps as far ahead as it leads the target.
# - Features are columns, series are rows. A network learns from all series but sees one at a time.
# - A predictor that is known *ahead* (a holiday, a planned price) is a third kind: lagline calls it
#   `future` ([windows](../windows.md#covariates)).
#
# **Try it yourself.** Let the river follow the rain after one day, or after six. Where does the picture
# break now?
#
# Next: [Sliding windows](03_sliding_windows.md), and how each predictor gets a window of its own.
