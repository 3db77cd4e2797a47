"""The recurrent neuron: a loop, unrolled; then Elman, stacked and bidirectional networks"""

# %% [markdown]
# # 4. The recurrent neuron
#
# An ordinary neuron looks at its input and forgets it at once. Our question: **what is the smallest change
# that gives it a memory, and what can it do then?**
#
# ## Without a loop
#
# A neuron computes `y = f(w_ih * x + b)`. We take tanh for f. Give it the same input twice and it answers
# twice the same, whatever came in between.

# %%
import numpy as np
import torch

from docs.course.lab import arrow, blank, box, panel_of, picture, train, windows_of
from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.networks.recurrent import Recurrent
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, OTHERS

signal = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]


def neuron(x: float, w_ih: float = 0.8, b: float = 0.0) -> float:
    return float(np.tanh(w_ih * x + b))


print(*(f"{x:.0f} -> {neuron(x):.2f}  " for x in signal))
assert len({neuron(x) for x in signal}) == len(set(signal)) == 2  # one answer for each different input

# %% [markdown]
# ## With a loop
#
# Now the neuron also receives its own last output: `h[t] = f(w_ih * x[t] + w_hh * h[t-1] + b)`. One more
# weight, `w_hh`, and everything changes: the same input gives different answers, depending on what came
# before.


# %%
def recurrent(signal: list[float], w_ih: float = 0.8, w_hh: float = 0.5, b: float = 0.0) -> list[float]:
    h, states = 0.0, []
    for x in signal:
        h = float(np.tanh(w_ih * x + w_hh * h + b))
        states.append(h)
    return states


states = recurrent(signal)
print(*(f"{x:.0f} -> {h:.2f}  " for x, h in zip(signal, states, strict=True)))
assert len({round(h, 6) for h in states}) == len(signal)  # no two answers are equal any more
assert recurrent(signal, w_hh=0.0) == [neuron(x) for x in signal]  # without the loop: the ordinary neuron

# %% [markdown]
# ## The loop, rolled out
#
# A loop is hard to draw and hard to differentiate. So we roll it out: the same cell once for each step,
# handing its state to the right. It looks like a deep network with one layer per step, but for one thing:
# **all copies share the same three weights.** A longer window needs more steps and not one weight more.

# %% fold
figure, ax = picture(7.4, 2.9)
blank(ax)
ax.set_title("One cell with a loop (left) is the same cell at every step (right)", loc="left")
box(ax, 0.5, 1, "cell", CHOSEN)
arrow(ax, (0.5, 0.25), (0.5, 0.75))
arrow(ax, (0.5, 1.25), (0.5, 1.75))
loop = {"arrowstyle": "-|>", "color": BAR, "connectionstyle": "arc3,rad=-2.4", "lw": 1.4}
ax.annotate("", (0.8, 0.88), (0.8, 1.12), arrowprops=loop)
ax.text(1.04, 1.3, "$w_{hh}$", fontsize=9, color=BAR)
ax.text(0.5, 0.14, "x", ha="center", fontsize=11)
ax.text(0.5, 1.82, "h", ha="center", fontsize=11)
ax.text(1.5, 0.94, "=", fontsize=18, ha="center")
for step in range(1, 5):
    x = 1.2 + step * 1.1
    box(ax, x, 1, "cell", CHOSEN)
    arrow(ax, (x, 0.25), (x, 0.75))
    arrow(ax, (x, 1.25), (x, 1.75))
    ax.text(x, 0.14, f"$x_{step}$", ha="center", fontsize=11)
    ax.text(x, 1.82, f"$h_{step}$", ha="center", fontsize=11)
    arrow(ax, (x + 0.3, 1), (x + 0.82, 1), "$w_{hh}$" if step < 4 else "", BAR)
ax.set_xlim(-0.2, 7)
ax.set_ylim(0, 2.05)
figure

# %% [markdown]
# Is that really what a library computes? We put our three numbers into torch's recurrent layer and compare.

# %%
layer = torch.nn.RNN(input_size=1, hidden_size=1, batch_first=True)
with torch.no_grad():
    for name, value in {"weight_ih_l0": 0.8, "weight_hh_l0": 0.5, "bias_ih_l0": 0.0, "bias_hh_l0": 0.0}.items():
        getattr(layer, name).fill_(value)
    theirs = layer(torch.tensor(signal).reshape(1, -1, 1))[0].flatten()
assert np.allclose(theirs, states, atol=1e-6)
print("ours  ", *(f"{h:.4f}" for h in states))
print("torch ", *(f"{h:.4f}" for h in theirs))

# %% [markdown]
# ## How long does it remember?
#
# A single pulse, then silence: what is left of it after t steps? That depends on `w_hh` alone. Before you
# look at the picture, guess: which value remembers longest?

# %%
pulse = [1.0] + [0.0] * 24
memories = {w: recurrent(pulse, w_hh=w) for w in (0.0, 0.5, 0.9, 1.2)}

# %% fold
figure, ax = picture(7.4, 3.2)
ax.set_title("What is left of one pulse, by the weight of the loop", loc="left")
for (w, values), colour, (x, y) in zip(
    memories.items(), (ACTUAL, CHOSEN, OTHERS[0], BAR), ((1.1, 0.02), (2.3, 0.2), (8, 0.25), (8, 0.6)), strict=True
):
    ax.plot(values, color=colour)
    ax.text(x, y, f"$w_{{hh}}$ = {w}", color=colour, fontsize=9)
ax.set_xlabel("steps after the pulse")
ax.set_ylabel("state h")
figure

# %% [markdown]
# Below 1 the memory fades, the faster the smaller the weight. Above 1 it never fades: the state is stuck,
# and now it *cannot forget*. A memory that is long but not eternal needs a weight just below 1. Keep this
# in mind: it is the seed of everything that goes wrong in [lesson 7](07_limits_and_cures.md).

# %%
assert memories[0.0][1] == 0  # gone at once
assert memories[0.5][10] < 0.001 < 0.1 < memories[0.9][10]  # faded, and still there
assert abs(memories[1.2][24] - memories[1.2][20]) < 1e-3 and memories[1.2][24] > 0.5  # stuck

# %% [markdown]
# ## The Elman network
#
# One such neuron remembers one number. The *Elman network* (1990) puts many next to each other, and each
# hears all: `h[t] = tanh(W x[t] + U h[t-1] + b)`, where W and U are now matrices. In lagline this is the
# family `recurrent` with `cell: elman`. We compute it by hand for two features and three neurons, and
# compare.

# %%
torch.manual_seed(0)
elman = Recurrent(num_features=2, lookback=6, horizon=1, cell="elman", hidden_size=3).eval()
x = torch.randn(1, 6, 2)


def by_hand(x: np.ndarray, weights: torch.nn.RNNBase, suffix: str) -> np.ndarray:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(weights, f"{name}_{suffix}").detach().numpy() for name in names)
    h, states = np.zeros(len(u)), []
    for x_t in x:
        h = np.tanh(w @ x_t + b + u @ h + c)
        states.append(h)
    return np.array(states)


ours = by_hand(x[0].numpy(), elman.recurrence, "l0")
assert np.allclose(ours, elman.recurrence(x)[0][0].detach(), atol=1e-6)
print(f"states: {ours.shape[0]} steps of {ours.shape[1]} numbers; the last:", *(f"{value:.3f}" for value in ours[-1]))

# %% [markdown]
# The forecast is a linear map of the **last** state: whatever the network wants to use of the window, it
# has to carry there. And its size does not depend on the length of the window:


# %%
def size(lookback: int) -> int:
    network = Recurrent(num_features=2, lookback=lookback, horizon=1, cell="elman", hidden_size=3)
    return sum(weight.numel() for weight in network.recurrence.parameters())


F, D = 2, 3
assert size(10) == size(1000) == D * F + D * D + 2 * D  # W, U, and two vectors b
print(f"{size(10)} weights for a window of 10 samples, {size(1000)} for one of 1,000")

# %% [markdown]
# ## Stacked
#
# Several layers make a *deep* recurrent network: the second reads the states of the first as if they were
# its input. For that, the first must return its **whole sequence** of states, not the last one only.
# (Forgetting this is the classical mistake in Keras: `return_sequences=True`.)

# %%
torch.manual_seed(1)
stacked = Recurrent(num_features=2, lookback=6, horizon=1, cell="elman", hidden_size=3, num_layers=2).eval()
first = by_hand(x[0].numpy(), stacked.recurrence, "l0")  # [6, 3]: one state per step
second = by_hand(first, stacked.recurrence, "l1")
assert first.shape == second.shape == (6, 3)
assert np.allclose(second, stacked.recurrence(x)[0][0].detach(), atol=1e-6)

# %% [markdown]
# ## Bidirectional
#
# Two networks read the same window, one from the oldest sample to the newest, the other in reverse. Both
# last states together make the forecast. Is that cheating, reading backwards from the future? No: **the
# window itself ends at the cutoff.** Reading the past backwards is still reading the past.

# %%
torch.manual_seed(2)
both = Recurrent(num_features=2, lookback=6, horizon=1, cell="elman", hidden_size=3, bidirectional=True).eval()
forwards = by_hand(x[0].numpy(), both.recurrence, "l0")[-1]
backwards = by_hand(x[0].numpy()[::-1], both.recurrence, "l0_reverse")[-1]
last = np.concatenate([forwards, backwards])
forecast = both.head(torch.from_numpy(last).float()[None])
assert torch.allclose(forecast, both(x), atol=1e-6)

# %% fold
figure, axes = picture(7.4, 3.6, 1, 2)
figure.suptitle("Stacked: layers above one another.  Bidirectional: two readings of one window")
for ax in axes:
    blank(ax)
    ax.set_xlim(0.4, 4.8)
    ax.set_ylim(-0.1, 3.1)
around = {"arrowstyle": "-|>", "color": ACTUAL, "lw": 0.8, "connectionstyle": "arc3,rad=0.25"}
for step in range(1, 5):
    for ax in axes:
        ax.text(step, 0.05, f"$x_{step}$", ha="center", fontsize=11)
    for level, colour in ((1, CHOSEN), (2, OTHERS[0])):
        box(axes[0], step, level, "cell", colour)
        arrow(axes[0], (step, level - 0.65 if level == 1 else level - 0.75), (step, level - 0.25))
        box(axes[1], step, level, "cell", colour)
        if step < 4:
            arrow(axes[0], (step + 0.3, level), (step + 0.7, level), colour=BAR)
            ends = (step + 0.3, level), (step + 0.7, level)
            arrow(axes[1], *(ends if level == 1 else ends[::-1]), colour=BAR)
    arrow(axes[1], (step, 0.35), (step, 0.75))
    axes[1].annotate("", (step + 0.24, 1.78), (step + 0.12, 0.3), arrowprops=around)
arrow(axes[0], (4, 2.25), (4, 2.75))
axes[0].text(4, 2.85, "forecast", ha="center")
arrow(axes[1], (1, 2.25), (2.2, 2.8))
arrow(axes[1], (4.3, 1.1), (4.55, 2.75))
axes[1].text(3.3, 2.85, "forecast, from both last states", ha="center")
figure

# %% [markdown]
# ## Does the loop earn its keep?
#
# A test on which we know what is possible: the target is the mean of the last ten random inputs. A neuron
# that sees only the newest input can hardly know it; one that carries a state can. We train both with
# lagline's own loop: `lookback: 1` makes the same Elman network see the newest sample alone.

# %%
rng = np.random.default_rng(0)
noise = rng.normal(size=2500)
mean = np.array([noise[max(t - 10, 0) : t].mean() if t else 0.0 for t in range(2500)])
panel = panel_of({"a": {"y": mean, "x": noise}}, ["x"])
params = WindowParams(1, {"x": FeatureWindow(10)})
split = Split("rows", validation=400, test=400)
seen, held_out = (windows_of(panel, params, split, part) for part in ("train", "validation"))
ELMAN = {"cell": "elman", "hidden_size": 8}
errors = {
    name: train("recurrent", ELMAN | own, seen, held_out, split, epochs=20, learning_rate=1e-2).val_mae
    for name, own in {"without memory": {"lookback": 1}, "with the loop": {}}.items()
}
for name, error in errors.items():
    print(f"{name:15} MAE {error:.3f}")
assert errors["with the loop"] < 0.25 * errors["without memory"]

# %% [markdown]
# ## What to keep
#
# - The loop is one more weight: the last state is an input of the next. Rolled out, it is one cell at every
#   step, with shared weights.
# - How long it remembers is decided by the recurrent weights, between fading and never forgetting.
# - Elman: many such neurons; stacked: layer above layer, with whole sequences between them; bidirectional:
#   the same window read both ways.
#
# **Try it yourself.** Make the target the mean of the last 40 inputs, with a window of 40. Does the Elman
# network still manage?
#
# Next: [Shapes of sequence models](05_shapes.md): what goes in and what comes out.
