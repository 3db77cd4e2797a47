"""Shapes: sequence to vector, sequence to sequence, vector to sequence"""

# %% [markdown]
# # 5. Shapes of sequence models
#
# A recurrent cell reads a sequence and has a state after every sample. What we make of these states is up
# to us. Our question: **what can go in, what can come out, and which shape suits a forecast?**
#
# There are three basic shapes, named by what goes in and what comes out:
#
# - **Sequence to vector**: read it all, answer once. (Is this review friendly? What are the next six
#   hours?)
# - **Sequence to sequence**: an answer at every step. (Tag every word; forecast from every hour.)
# - **Vector to sequence**: one thing in, a sequence out. (Describe this photo; unroll this state into a
#   day.)

# %%
import numpy as np
import torch

from docs.course.lab import arrow, blank, box, mae, panel_of, picture, targets, train, weather, windows_of
from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.networks.recurrent import Recurrent
from models.networks.sequence import EncoderDecoder, SeqToSeq, VecToSeq
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, OTHERS

# %% fold
figure, axes = picture(7.4, 2.9, 1, 3)
figure.suptitle("Three shapes")
names = ("sequence to vector", "sequence to sequence", "vector to sequence")
for ax, name, ins, outs in zip(axes, names, ((1, 2, 3), (1, 2, 3), (1,)), ((3,), (1, 2, 3), (1, 2, 3)), strict=True):
    blank(ax)
    ax.set_title(name, fontsize=10)
    ax.set_xlim(0.5, 3.5)
    ax.set_ylim(-0.1, 2.1)
    for step in (1, 2, 3):
        box(ax, step, 1, "cell", CHOSEN)
        if step < 3:
            arrow(ax, (step + 0.28, 1), (step + 0.72, 1), colour=BAR)
        if step in ins:
            arrow(ax, (step, 0.3), (step, 0.76))
            ax.text(step, 0.1, "vector" if len(ins) == 1 else f"$x_{step}$", ha="center")
        if step in outs:
            arrow(ax, (step, 1.24), (step, 1.7))
            ax.text(step, 1.8, "answer" if len(outs) == 1 else f"$y_{step}$", ha="center")
figure

# %% [markdown]
# lagline has a family for each. All of them must in the end do the same job: take a batch of windows `[B,
# L, F]` and return the next `H` steps, `[B, H, 1]`. What differs is the way.

# %%
B, L, F, H = 4, 12, 2, 6
x = torch.randn(B, L, F, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
shape = {"num_features": F, "lookback": L, "horizon": H}
seq2vec = Recurrent(**shape, cell="gru", hidden_size=8).eval()
seq2seq = SeqToSeq(**shape, cell="gru", hidden_size=8).eval()
vec2seq = VecToSeq(**shape, cell="gru", hidden_size=8).eval()
for network in (seq2vec, seq2seq, vec2seq):
    assert network(x).shape == (B, H, 1)

# %% [markdown]
# ## Sequence to vector
#
# The family `recurrent` of the last lesson: only the **last** state counts, and a linear map turns it into
# all six steps at once. We check that by making the map ourselves.

# %%
states, _ = seq2vec.recurrence(x)  # [4, 12, 8]: a state for every sample
assert states.shape == (B, L, 8)
assert torch.allclose(seq2vec.head(states[:, -1]), seq2vec(x), atol=1e-6)

# %% [markdown]
# ## Sequence to sequence
#
# Eleven of the twelve states were thrown away. The family `seq2seq` uses them in training: from **every**
# sample it forecasts the six steps that follow it, so one window is not one example but twelve. In use,
# only the forecast from the newest sample counts.

# %%
forecasts = seq2seq.train()(x)
print("in training:", list(forecasts.shape), "  in use:", list(seq2seq.eval()(x).shape))
assert forecasts.shape == (B, L, H, 1)
assert torch.allclose(forecasts[:, -1], seq2seq.eval()(x), atol=1e-6)

# %% [markdown]
# Is it allowed to train on the middle of a window? Only if the forecast from sample t knows nothing of the
# samples after it. A recurrence reads from left to right, so it should not. We do not believe it, we test
# it: change the last four samples, and see which forecasts move.

# %%
changed = x.clone()
changed[:, 8:] += 10
moved = (seq2seq.train()(changed) - forecasts).abs().amax(dim=(0, 2, 3)) > 1e-6
print("samples whose forecasts moved:", *(moved.nonzero().flatten() + 1).tolist())
assert moved.tolist() == [False] * 8 + [True] * 4

# %% [markdown]
# (For the same reason there is no bidirectional `seq2seq` here. A network that reads the window backwards
# would have seen the answers.)
#
# ## Vector to sequence
#
# The family `vec2seq` first presses the whole window into **one vector**, and then a recurrence unrolls it
# over the horizon. This is the natural shape when each step ahead has inputs of its own: the hour of the
# day, a planned price. They enter the unrolling at their own step.

# %%
planned = VecToSeq(**shape, num_ahead=1, cell="gru", hidden_size=8).eval()
plan = torch.zeros(B, H, 1)
later = plan.clone()
later[:, 3] = 5.0  # a change that concerns the fourth step
difference = (planned(x, later) - planned(x, plan)).abs().amax(dim=(0, 2))
print("steps that changed:", *((difference > 1e-6).nonzero().flatten() + 1).tolist())
assert ((difference > 1e-6).tolist()) == [False] * 3 + [True] * 3  # that step, and those that follow it

# %% [markdown]
# ## Both: encoder and decoder
#
# Put the two together, sequence to vector and then vector to sequence, and you have the *encoder-decoder*,
# the shape behind machine translation. The encoder reads the window; its last state is the vector; the
# decoder writes the forecast, each step from the one before.

# %%
torch.manual_seed(1)
both = EncoderDecoder(**shape, cell="gru", hidden_size=8).eval()
_, vector = both.encoder(x)
print("window", list(x.shape), "-> vector", list(vector[0].shape), "-> forecast", list(both(x).shape))
assert vector[0].shape == (B, 8) and both(x).shape == (B, H, 1)

# %% [markdown]
# ## On real data
#
# Now all four on the temperature of JFK, 24 hours ahead from two days of past. The same data, the same
# number of hidden neurons, the same number of epochs, one seed. As a bar to beat: the last value.

# %%
table = weather("JFK")
hours = table["time_hour"].dt.hour().to_numpy() * 2 * np.pi / 24
panel = panel_of({"JFK": {"y": table["temp"], "sine": np.sin(hours), "cosine": np.cos(hours)}})
day, days = FeatureWindow(24), FeatureWindow(48)
params = WindowParams(24, {"y": days, "sine": day, "cosine": day})
split = Split("rows", validation=56 * 24, test=28 * 24)
seen = windows_of(panel, params, split, "train", stride=4)
held_out = windows_of(panel, params, split, "validation", stride=6)
truth = targets(held_out)
newest = torch.cat([batch.inputs.past_BLF[:, -1, :1] for batch in held_out.batches(512)]).numpy()

gru = {"cell": "gru", "hidden_size": 16}
zoo = {"seq2vec": "recurrent", "seq2seq": "seq2seq", "vec2seq": "vec2seq", "encoder-decoder": "encoder_decoder"}
trained = {name: train(family, gru, seen, held_out, split, level="last", epochs=5) for name, family in zoo.items()}
bar = float(mae(newest, truth).mean())
print(f"{'last value':16} MAE {bar:.2f} °F")
for name, model in trained.items():
    print(f"{name:16} MAE {model.val_mae:.2f} °F   {model.size:,} weights")

# %% fold
number = 100
figure, ax = picture(7.4, 3.6)
ax.set_title("One forecast of each shape", loc="left", pad=38)
past = held_out.batch(torch.tensor([number])).inputs.past_BLF[0, :, 0]
ax.plot(range(-47, 1), past, color=ACTUAL, label="past")
ax.plot(range(1, 25), truth[number], color=ACTUAL, linestyle=":", label="what came")
for (name, model), colour in zip(trained.items(), (CHOSEN, BAR, *OTHERS), strict=False):
    ax.plot(range(1, 25), model.forecasts(held_out)[number], color=colour, label=name)
ax.axvline(0.5, color=ACTUAL, linewidth=0.7)
ax.set_xlabel("hours from the cutoff")
ax.set_ylabel("°F")
ax.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=3, frameon=False, fontsize=9, borderaxespad=0.2)
figure

# %% [markdown]
# All four beat the last value. Beyond that, resist the temptation to crown a winner: this is one seed, one
# airport and two months. Between shapes that are this close, a second seed can turn the order round. How
# lagline asks whether a difference is more than chance is part of [lesson 8](08_pipeline.md).

# %%
assert all(model.val_mae < bar for model in trained.values())

# %% [markdown]
# ## What to keep
#
# - Sequence to vector uses the last state; sequence to sequence uses all; vector to sequence unrolls one.
# - Training on every sample multiplies the examples, and is honest only for networks that never look ahead.
# - If each step ahead has inputs of its own, you want a decoder.
#
# **Try it yourself.** Train `seq2vec` and `seq2seq` again with `seed=1` and `seed=2`. Does the order hold?
#
# Next: [Convolutions](06_convolutions.md), which read a window without any state.
