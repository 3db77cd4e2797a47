"""Limits and cures: vanishing gradients, and what LSTM, GRU, attention and dilation do about them"""

# %% [markdown]
# # 7. Limits and cures
#
# We have two ways to read a window: carry a state along (recurrent), or look for patterns everywhere
# (convolutional). Our question: **what can neither of them do in its plain form, why, and what helps?** We
# let both fail first. A failure that you have seen explains the cure better than any formula.
#
# ## Why a memory fades
#
# In [lesson 4](04_recurrent_neuron.md) a pulse faded away with the weight of the loop. Learning suffers
# from the same: to learn that something old matters, the error must travel back through all steps, and each
# step multiplies it by about the same number.

# %%
import numpy as np
import polars as pl
import torch

from docs.course.lab import Trained, panel_of, picture, train, windows_of
from models import build_forecaster
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs
from models.memory_card import memory_card
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, OTHERS

for weight in (0.8, 1.0, 1.2):
    print(f"{weight} to the power of 50: {weight**50:,.5f}")
assert 0.8**50 < 1e-4 and 1.2**50 > 9000

# %% [markdown]
# A little below 1, and fifty steps back nothing arrives: the *vanishing gradient*. A little above, and it
# *explodes*: training becomes unstable. (Against explosions there is a simple cure that lagline always
# applies: it limits the length of the gradient, `training.clip_norm`.)
#
# ## Seeing it: the memory card
#
# lagline measures for every network how strongly each row of the window moves the forecast, and calls the
# result its *memory card*. Here are five untrained networks on the same random windows of 60 samples. What
# you see is what training has to begin with.

# %%
params = WindowParams(1, {"y": FeatureWindow(60)})
noise = torch.randn(64, 60, 1, generator=torch.Generator().manual_seed(0))
windows = Inputs.zeros(params, 64)._replace(past_BLF=noise)
begins = {
    "elman": ("recurrent", {"cell": "elman", "hidden_size": 16}),
    "lstm": ("recurrent", {"cell": "lstm", "hidden_size": 16}),
    "gru": ("recurrent", {"cell": "gru", "hidden_size": 16}),
    "tcn": ("tcn", {"channels": 8, "num_blocks": 2}),
    "attention": ("attention", {"cell": "elman", "hidden_size": 16, "score": "dot"}),
}
untrained = {}
for name, (family, network) in begins.items():
    torch.manual_seed(0)
    untrained[name] = memory_card(build_forecaster(family, network, params), params, windows)

# %% fold
figure, ax = picture(7.4, 3.8)
ax.set_title("Before training: how much each row moves the forecast, next to the newest row", loc="left")
marks = {"elman": 22, "lstm": 40, "gru": 30, "tcn": 14, "attention": 48}
for (name, card), colour in zip(untrained.items(), (BAR, CHOSEN, OTHERS[0], ACTUAL, OTHERS[1]), strict=True):
    share = np.array(card.sensitivity) / card.sensitivity[0]
    seen = share > 0
    ax.plot(np.arange(1, 61)[seen], share[seen], color=colour)
    row = min(marks[name], int(seen.sum()))
    ax.text(row + 0.5, share[row - 1] * 1.3, name, color=colour)
ax.set_yscale("log")
ax.minorticks_off()
ax.set_xlabel("rows before the cutoff")
ax.set_ylabel("share of the newest row")
figure

# %% [markdown]
# On this scale, a straight line going down is a memory that loses the same share with every step: 1, 1/10,
# 1/100. The Elman network and the GRU begin like that; forty rows back, less than a ten-thousandth is left.
# The LSTM falls much more slowly, and we shall see why. The `tcn` with two blocks ends abruptly: that is
# its receptive field, and beyond it there is exactly nothing. Attention levels off: each forecast step
# looks back at all rows directly.

# %%
share = {name: card.sensitivity[40] / card.sensitivity[0] for name, card in untrained.items()}
assert share["elman"] < 1e-4 and share["gru"] < 1e-4
assert share["lstm"] > 10 * share["elman"] and share["attention"] > 0.01
assert untrained["tcn"].receptive_field == untrained["tcn"].theoretical_field == 13

# %% [markdown]
# ## A task that needs a long memory
#
# Each series begins with a flag, +1 or -1, and a mark that says *this is it*. Then comes noise as loud as
# the flag, for twenty steps. Then the question: what was the flag? Guessing has an error of 1; whoever
# remembers has 0.

# %%
DELAY, COUNT = 20, 1500
rng = np.random.default_rng(0)
flags = rng.choice([-1.0, 1.0], COUNT)
series = {}
for number, flag in enumerate(flags):
    x, mark, y = rng.normal(size=DELAY + 2), np.zeros(DELAY + 2), np.zeros(DELAY + 2)
    x[0], mark[0], y[-1] = flag, 1.0, flag
    series[f"{number:04d}"] = {"y": y, "x": x, "mark": mark}
task = WindowParams(1, {"x": FeatureWindow(DELAY + 1), "mark": FeatureWindow(DELAY + 1)})
whole = windows_of(panel_of(series, ["x", "mark"]), task)
assert len(whole) == COUNT  # one window per series
seen, held_out = whole.at(whole.origins[:-300].numpy()), whole.at(whole.origins[-300:].numpy())

# %% fold
figure, axes = picture(7.4, 3, 2, 1, sharex=True, sharey=True)
figure.suptitle("Two examples: remember the first value through twenty steps of noise")
for ax, number in zip(axes, (int(np.argmax(flags > 0)), int(np.argmax(flags < 0))), strict=True):
    example = list(series.values())[number]
    ax.plot(example["x"][:-1], color=ACTUAL, linewidth=0.9)
    ax.plot(0, example["x"][0], color=CHOSEN, marker="o")
    ax.plot(DELAY + 1, example["y"][-1], color=BAR, marker="o")
    ax.text(0, 2.1, "the flag", color=CHOSEN)
    ax.text(DELAY + 1, 2.1, "the answer", color=BAR, ha="right")
    ax.set_ylim(-3, 3)
axes[1].set_xlabel("step")
figure

# %% [markdown]
# ## The plain ones fail
#
# First an Elman network, and a `tcn` whose field of 13 ends before the flag.


# %%
def learn(family: str, network: dict[str, object], prepare: object = None) -> Trained:
    return train(family, network, seen, held_out, epochs=15, learning_rate=1e-2, prepare=prepare)


results = {"elman": learn(*begins["elman"]), "tcn, field 13": learn(*begins["tcn"])}
for name, model in results.items():
    print(f"{name:15} MAE {model.val_mae:.2f}")
assert all(model.val_mae > 0.9 for model in results.values())  # no better than a guess

# %% [markdown]
# Neither learns anything, for two different reasons. The Elman network *could* hold the flag, but the
# gradient that would teach it to does not arrive. The `tcn` *cannot*: the flag is outside of what it sees.
#
# ## The cures
#
# **Gates: LSTM and GRU.** Instead of pressing everything through a tanh at each step, the LSTM keeps a cell
# that is only multiplied by a *forget gate*, `c[t] = f[t] * c[t-1] + i[t] * g[t]`. A gate near 1 hands the
# past on, and the gradient with it: this is why its line above falls so slowly. The network learns when to
# hold and when to let go. The GRU does the same with fewer parts. (Before training it forgets fastest of
# all. What a network is at the start is not what it can become.)
#
# How open is a gate at the start? That is a choice: its bias. lagline begins with the usual 1. For this
# task we open the gates further, with a bias of 4:


# %%
def open_gates(network: torch.nn.Module) -> None:
    size = network.recurrence.hidden_size
    with torch.no_grad():
        network.recurrence.bias_ih_l0[size : 2 * size] = 4.0  # the second quarter is the forget gate's


for bias in (1.0, 4.0):
    gate = float(torch.sigmoid(torch.tensor(bias)))
    print(f"a gate that stays at a bias of {bias:.0f} lets {gate:.2f} through; after {DELAY} steps {gate**DELAY:.3f} is left")
assert torch.sigmoid(torch.tensor(1.0)) ** DELAY < 0.002 and torch.sigmoid(torch.tensor(4.0)) ** DELAY > 0.6

# %% [markdown]
# **Attention.** Do not carry everything to the end: keep the state of every sample, give each a *score* for
# the question at hand, and take their weighted mean. The way from the answer to the flag is then one step,
# however long the window. To see what attention alone does, we put it on top of the **same Elman cell**
# that has just failed.
#
# **Dilation.** For a convolution the cure is to widen the view until it covers the window (`num_blocks: 0`
# lets lagline choose the fewest blocks that do).

# %%
cures = {
    "lstm": learn(*begins["lstm"], open_gates),
    "gru": learn(*begins["gru"]),
    "attention": learn(*begins["attention"]),
    "tcn, dilated": learn("tcn", {"channels": 8}),
}
results |= cures
pl.DataFrame(
    {
        "network": list(results),
        "weights": [model.size for model in results.values()],
        "MAE": [round(model.val_mae, 3) for model in results.values()],
    }
)

# %%
assert all(model.val_mae < 0.1 for model in cures.values())  # each of them holds the flag

# %% [markdown]
# ## Seeing the cure
#
# The memory cards after training tell the same story without an error measure. The flag is the oldest row,
# row 21.

# %%
inputs = held_out.inputs(held_out.origins)
cards = {name: memory_card(model.forecaster, task, inputs) for name, model in results.items()}
assert all(card.rows == DELAY + 1 == 21 for card in cards.values())

# %% fold
figure, axes = picture(7.4, 4.4, 2, 3, sharex=True, sharey=True)
figure.suptitle("After training: how much each row moves the forecast; the point is the flag")
for ax, (name, card) in zip(axes.ravel(), cards.items(), strict=True):
    share = np.clip(np.array(card.sensitivity) / max(card.sensitivity), 1e-5, None)
    ax.plot(range(1, 22), share, color=CHOSEN)
    ax.plot(21, share[-1], color=BAR, marker="o", clip_on=False, zorder=5)
    ax.set_title(f"{name}: error {results[name].val_mae:.2f}", loc="left", fontsize=10)
    ax.set_yscale("log")
    ax.set_ylim(1e-5, 2)
    ax.minorticks_off()
for ax in axes[1]:
    ax.set_xlabel("rows before the cutoff")
figure

# %% [markdown]
# The two that failed do not react to the flag at all. The four that learnt the task all have a jump at row
# 21.
#
# Look at the LSTM: its jump is small, although its forecast depends on nothing but the flag. A memory card
# says how much a *small change* moves the forecast. The LSTM has stored a firm plus or minus, and a
# slightly larger flag makes no difference to it. The height of a card is about sensitivity; what it shows
# reliably is **reach**.

# %%
flag = {name: card.sensitivity[-1] / sum(card.sensitivity) for name, card in cards.items()}
assert flag["elman"] < 1e-12 and flag["tcn, field 13"] == 0
for name in cures:
    assert flag[name] > 1e-3 and cards[name].sensitivity[-1] > 2 * cards[name].sensitivity[-2]
assert flag["lstm"] < 0.1 * min(flag[name] for name in ("gru", "attention", "tcn, dilated"))

# %% [markdown]
# And attention says openly where it looked. Out of 21 states it picks the one at the flag or just behind
# it, where the Elman cell has not yet forgotten.

# %% fold
weights = np.array(cards["attention"].attention)[0]
assert weights[:2].sum() > 0.9
figure, ax = picture(7.4, 2.4)
ax.set_title("The weight that attention gives to the state at each step (the flag comes at step 0)", loc="left")
ax.bar(range(DELAY + 1), weights, color=CHOSEN)
ax.set_xlabel("step")
ax.set_ylabel("weight")
figure

# %% [markdown]
# One more limit is not cured by any of this: a recurrent network works through its window **one sample
# after another**. A window of 1,000 samples is 1,000 steps in a row, on any hardware. A dilated convolution
# needs a few layers, and in each of them all places at once.

# %%
tcn = build_forecaster("tcn", {"channels": 8}, WindowParams(1, {"y": FeatureWindow(1000)}))
print(f"1,000 samples: 1,000 steps in a row for an LSTM, {2 * len(tcn.network.blocks)} layers for a dilated convolution")
assert len(tcn.network.blocks) < 10

# %% [markdown]
# ## What to keep
#
# | limit | how you see it | cure |
# |---|---|---|
# | gradients vanish over many steps | the memory card falls in a straight line | LSTM, GRU; attention |
# | gradients explode | training diverges | limit their length (`clip_norm`) |
# | a CNN sees only its field | the card ends abruptly | dilation, more blocks, pooling |
# | a recurrence works step by step | slow on long windows | convolutions; fewer samples (`sampling_rate`) |
#
# Every report of lagline has the memory cards of all networks, and warns where a window is longer than what
# a network uses.
#
# **Try it yourself.** Raise `DELAY` to 40. Which cures still hold? Then let the LSTM begin with its usual
# bias of 1, and try three seeds: luck begins to play a part.
#
# Next: [The pipeline](08_pipeline.md), from a table to a promoted champion.
