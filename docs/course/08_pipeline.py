"""The pipeline: from a table to a champion that earned it"""

# %% [markdown]
# # 8. The pipeline
#
# You can now build networks that look good in a notebook. Our last question: **what must happen before
# somebody may rely on a forecast?** The networks are the small part of the answer. This lesson walks
# through the rest once, on a real table and in miniature: checks, comparison, promotion, forecast.

# %%
import os
import tempfile

import polars as pl

from docs.course.lab import picture, weather
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, QUIET

state = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.environ["LAGLINE_HOME"] = state.name  # runs and models of this lesson go away with it

from flows.api import champion, compare, forecast, promote, validate  # noqa: E402

columns = ["origin", "time_hour", "temp", "dewp", "pressure"]
table = pl.concat([weather(name) for name in ("EWR", "JFK", "LGA")]).select(columns)
table = table.filter(pl.col("time_hour") < pl.datetime(2013, 6, 1, time_zone="UTC"))
roles = {"id": "origin", "time": "time_hour", "target": "temp", "horizon": 12}
table.with_columns(pl.col("time_hour").dt.strftime("%Y-%m-%d %H:%M")).head(3)

# %% [markdown]
# ## 1. Check the data, and be able to say no
#
# A model can be no better than its table, and tables break silently: a sensor sticks, a logger stands
# still, a unit changes. So the first step is a set of checks, whose answer may be **no**. We spoil the
# table on purpose: during one week of March nobody wrote anything down.

# %%
week = pl.col("time_hour").is_between(pl.datetime(2013, 3, 4, time_zone="UTC"), pl.datetime(2013, 3, 11, time_zone="UTC"))
limits = {"validation": {"max_gap_share": 0.01}}  # at most one hour in a hundred may be missing
clean, spoiled = validate(table, **roles, **limits), validate(table.filter(~week), **roles, **limits)
print("clean table:  ", "passed" if clean.passed else "failed")
print("spoiled table:", "passed" if spoiled.passed else "failed")
for finding in spoiled.failed:
    print(f"   {finding.name}: {finding.worst:.1%}, at most {finding.high:.0%} ({', '.join(finding.series)})")
assert clean.passed and [finding.name for finding in spoiled.failed] == ["gaps"]

# %% [markdown]
# ## 2. Compare, honestly
#
# `compare` cuts the time axis into three parts. Networks learn on the first, **training**. Whatever is
# chosen, from the best epoch to the best model, is chosen on the second, **validation**. The third, the
# **test**, is read once, at the end, and never chooses. That order matters: whoever picks the best of many
# on the test reports their luck.
#
# Each feature gets a window of its own, as in [lesson 3](03_sliding_windows.md), and simple baselines run
# along, as in [lesson 1](01_sequences.md). Everything that follows from these lines is repeatable bit for
# bit.

# %%
board = compare(
    table,
    **roles,
    name="course",
    variants=["ridge", "elman", "gru"],
    windows={
        "stride": 4,
        "features": {"y": {"lookback": 48}, "dewp": {"lookback": 24}, "pressure": {"lookback": 8, "sampling_rate": 3}},
        "calendar": ["hour"],
    },
    split={"validation": "21d", "test": "21d"},
    training={"max_epochs": 5, "batch_size": 64, "learning_rate": 3e-3},
    evaluation={"stride": 6, "baselines": ["last_value", "seasonal_naive"], "season": 24},
)
board.rows.select(
    "name", "kind", pl.col("val_mae", "test_mae").round(2), (100 * pl.col("test_skill")).round(1).alias("skill %")
)

# %% fold
rows = board.rows.sort("val_mae", descending=True)
figure, ax = picture(7.4, 2.9)
ax.set_title("Error of each model: validation chooses, the test only shows", loc="left", pad=24)
for place, row in enumerate(rows.iter_rows(named=True)):
    ax.plot([row["val_mae"], row["test_mae"]], [place, place], color=QUIET, zorder=1)
ax.scatter(rows["val_mae"], range(rows.height), color=CHOSEN, label="validation", zorder=2)
ax.scatter(rows["test_mae"], range(rows.height), color=BAR, marker="D", label="test", zorder=2)
ax.set_yticks(range(rows.height), rows["name"])
ax.set_xlabel("MAE in °F")
ax.set_xlim(0)
ax.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=2, frameon=False, fontsize=9, borderaxespad=0.2)
figure

# %% [markdown]
# Two things to see here. The three models lie close together: a linear model on well chosen windows keeps
# up with the networks, and on many tables it wins. That is why it is always in the race. And look at the
# two baselines: validation prefers `seasonal_naive`, the test `last_value`. Whatever was chosen on one
# month may disappoint in the next, and only a test that did not choose will tell you so.
#
# What `skill` means: by how many percent a model's error is smaller than that of the best baseline, the one
# that validation prefers. Below zero, do not use it.

# %%
print(board.sentence)
scores = {row["name"]: row["val_mae"] for row in board.rows.iter_rows(named=True)}
assert board.chosen == min(scores, key=scores.__getitem__)  # chosen on validation
assert max(scores[name] for name in ("ridge", "elman", "gru")) < 1.1 * scores[board.chosen]  # close together
tested = {row["name"]: row["test_mae"] for row in board.rows.iter_rows(named=True)}
assert scores["seasonal_naive"] < scores["last_value"] and tested["seasonal_naive"] > tested["last_value"]
assert scores[board.chosen] < scores["seasonal_naive"]

# %% [markdown]
# Between training and scores stood the *canary*: lagline overwrites what lies after the cutoff in some
# windows and forecasts again. If a single number changes, the future has leaked into the model, and nothing
# is published.
#
# ## 3. Promote, with proof
#
# The winner is registered as **challenger**. That gives it no rights. To become **champion**, the version
# that others may rely on, it has to pass a row of gates, each of which can say no. Among other things it is
# trained **again from its record**, and the weights must come out the same, bit for bit.

# %%
assert champion("course") is None  # nobody holds the title yet
decision = promote("course", allow_dirty=True)  # allow_dirty: you may have changed this lesson
pl.DataFrame({"gate": [gate.gate for gate in decision.gates], "passed": [gate.passed for gate in decision.gates]})

# %%
for gate in decision.gates:
    if gate.gate in ("skill", "coverage", "bundle"):
        print(f"{gate.gate}: {gate.words}")
print("promoted" if decision.promoted else "refused")
assert {"checks", "skill", "coverage", "bundle", "reproduction"} <= {gate.gate for gate in decision.gates}
assert all(gate.passed for gate in decision.gates if gate.gate in ("checks", "bundle", "reproduction"))
assert decision.promoted == all(gate.passed for gate in decision.gates)

# %% [markdown]
# The decision, whatever it is, stands in a ledger with its number and its reasons. A champion that
# disappoints can be rolled back to the one before it (`python -m flows rollback course`).
#
# ## 4. Forecast
#
# From here on nobody needs to know what is inside. Name and alias go in, a table of forecasts comes out,
# with an interval that should hold nine of ten values.

# %%
alias = "champion" if decision.promoted else "challenger"
ahead = forecast(f"course@{alias}", table)
assert ahead.height == 3 * 12  # twelve hours for each of three airports
assert (ahead["yhat-lo-90"] <= ahead["yhat"]).all() and (ahead["yhat"] <= ahead["yhat-hi-90"]).all()
jfk = ahead.filter(pl.col("origin") == "JFK")
jfk.select(pl.col("time_hour").dt.strftime("%Y-%m-%d %H:%M"), pl.col("yhat", "yhat-lo-90", "yhat-hi-90").round(1)).head(4)

# %% [markdown]
# We kept June out of the table. So we can do now what a user does half a day later: look at what really
# came.

# %% fold
past = table.filter(pl.col("origin") == "JFK").tail(36)
came = weather("JFK").filter(pl.col("time_hour").is_in(jfk["time_hour"].implode()))
hours = range(1, 13)
figure, ax = picture(7.4, 3.4)
ax.set_title("JFK, twelve hours ahead, and what came", loc="left", pad=24)
ax.plot(range(1 - past.height, 1), past["temp"], color=ACTUAL, label="past")
ax.fill_between(hours, jfk["yhat-lo-90"], jfk["yhat-hi-90"], color=CHOSEN, alpha=0.18, linewidth=0, label="90 % interval")
ax.plot(hours, jfk["yhat"], color=CHOSEN, label="forecast")
ax.plot(hours, came["temp"], color=ACTUAL, linestyle=":", marker="o", markersize=3, label="what came")
ax.axvline(0.5, color=ACTUAL, linewidth=0.7)
ax.set_xlabel("hours from the cutoff")
ax.set_ylabel("°F")
ax.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=4, frameon=False, fontsize=9, borderaxespad=0.2)
figure

# %% [markdown]
# ## The whole course in one list
#
# 1. Order is information. The last value is the opponent.
# 2. A predictor helps as far ahead as it leads.
# 3. Windows turn a sequence into examples, each predictor with its own; nothing of the future goes in.
# 4. A loop is a memory, and its weight decides how long it lasts.
# 5. The last state, all states, or one state unrolled: three shapes.
# 6. Convolutions find local patterns anywhere, within their field.
# 7. Gates, attention and dilation reach further. Look at the memory card.
# 8. A forecast is trusted because of what could have said no to it.
#
# ## What to keep
#
# - Check the data before you train, and let the checks refuse.
# - Choose on validation; show the test; beat the baselines.
# - A champion is a version that passed its gates and can be made again, bit for bit.
#
# **Try it yourself.** Give `compare` your own table: `id`, `time`, `target` and `horizon` are enough, the
# rest is guessed. Everything in this lesson exists on the command line, too: see [Commands](../commands.md)
# and [How to read a comparison](../comparison.md).
