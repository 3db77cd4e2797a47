"""Convolutions: local patterns wherever they stand, pooling, dilation, and how far a network can see"""

# %% [markdown]
# # 6. Convolutions
#
# A recurrent network reads a window step by step and must carry everything along. A convolutional network
# (CNN) does not carry anything: it looks for small patterns everywhere at once. Our question: **what does
# it find, and how far back can it see?**
#
# ## Review: the convolution
#
# A kernel, a small table of weights, slides over an image. At each place, multiply what lies below, number
# by number, and add up. An image of n by p and a kernel of k by l give n - k + 1 by p - l + 1 numbers.

# %%
import numpy as np
import torch
from torch.nn import functional

from docs.course.lab import blank, panel_of, picture, train, windows_of
from models import build_forecaster
from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs
from models.memory_card import memory_card
from models.networks.convolutional import Convolutional
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, GRID

image = np.array([[7, 2, 3, 3, 8], [4, 5, 3, 8, 4], [3, 3, 2, 8, 4], [2, 8, 7, 2, 7], [5, 4, 4, 5, 4]])
kernel = np.array([[1, 0, -1]] * 3)


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    (n, p), (k, w) = image.shape, kernel.shape
    return np.array([[(image[i : i + k, j : j + w] * kernel).sum() for j in range(p - w + 1)] for i in range(n - k + 1)])


edges = convolve(image, kernel)
print(edges)

# %% [markdown]
# The first cell by hand: the left column minus the right one, 7 + 4 + 3 + 0 + 0 + 0 - 3 - 3 - 2 = 6. This
# kernel answers where the image is brighter on the left than on the right: it finds vertical edges. A CNN
# learns its kernels from data.

# %%
assert edges[0, 0] == 7 + 4 + 3 + 0 + 0 + 0 - 3 - 3 - 2 == 6
assert edges.tolist() == [[6, -9, -8], [-3, -2, -3], [-3, 0, -2]]
assert edges.shape == (5 - 3 + 1, 5 - 3 + 1)
theirs = functional.conv2d(torch.tensor(image)[None, None].float(), torch.tensor(kernel)[None, None].float())
assert np.array_equal(theirs[0, 0], edges)  # torch computes the same

# %% [markdown]
# ## Review: pooling
#
# Pooling keeps the important and drops the place: of each square of 2 by 2 only the largest number (or the
# smallest, or the mean) remains. What comes out is shorter.

# %%
grey = np.array(
    [
        [0, 0, 1, 2, 2, 1, 0],
        [0, 0, 2, 2, 3, 1, 0],
        [1, 1, 3, 4, 3, 2, 1],
        [0, 1, 3, 1, 3, 1, 0],
        [1, 2, 2, 5, 2, 2, 1],
        [0, 1, 2, 2, 2, 1, 0],
        [0, 1, 1, 2, 1, 1, 0],
    ]
)
pooled = np.array([[grey[i : i + 2, j : j + 2].max() for j in (0, 2, 4)] for i in (0, 2, 4)])
print(pooled)
assert pooled.tolist() == [[0, 2, 3], [1, 4, 3], [2, 5, 2]]
assert np.array_equal(functional.max_pool2d(torch.tensor(grey)[None].float(), 2, stride=2)[0], pooled)

# %% [markdown]
# ## From images to sequences
#
# A sequence is an image with one row. The kernel slides along time. Here are two kernels, made by hand, on
# a signal in which we have hidden three peaks and one slope.

# %%
steps = np.arange(120)
signal = np.interp(steps, [0, 60, 85, 120], [0, 0, 2.5, 2.5])
for place in (12, 30, 100):
    signal[place] += 1.5
peak = np.array([-0.5, 1.0, -0.5])  # larger than both neighbours
slope = np.linspace(-1, 1, 9) / 10  # larger on the right than on the left
responses = {name: np.convolve(signal, kernel[::-1], "same") for name, kernel in {"peak": peak, "slope": slope}.items()}

# %% fold
figure, axes = picture(7.4, 4.2, 3, 1, sharex=True)
figure.suptitle("Two kernels on one signal: each answers where its pattern is, wherever that may be")
axes[0].plot(steps, signal, color=ACTUAL)
axes[0].set_title("signal", loc="left", fontsize=10)
axes[1].plot(steps[1:-1], responses["peak"][1:-1], color=CHOSEN)
axes[1].set_title("kernel for a peak", loc="left", fontsize=10)
axes[2].plot(steps[4:-4], responses["slope"][4:-4], color=BAR)
axes[2].set_title("kernel for a slope", loc="left", fontsize=10)
axes[2].set_xlabel("step")
figure

# %%
assert sorted(1 + np.argsort(responses["peak"][1:-1])[-3:]) == [12, 30, 100]  # exactly the three peaks
inside = responses["slope"][62:84]
assert inside.min() > 0.5 * responses["slope"][10:-10].max()  # high all along the slope

# %% [markdown]
# The same three weights found all three peaks. That is the strength of a CNN: **local patterns, wherever
# they stand, with few weights.** And no step waits for the one before, so all places are computed in
# parallel.

# %%
L = 96
cnn = Convolutional(num_features=1, lookback=L, horizon=1, channels=8, kernel_size=3, num_layers=1)
weights = sum(weight.numel() for weight in cnn.convolutions.parameters())
dense = L * 8 * L + 8 * L  # a dense layer with as many outputs: each input to each of them
print(f"one layer on {L} samples: {weights} weights as a convolution, {dense:,} as a dense layer")
assert weights == 8 * 3 + 8 and dense > 1000 * weights

# %% [markdown]
# With pooling or a stride the maps become shorter from layer to layer, and later layers see more of the
# past:

# %%
deep = Convolutional(num_features=1, lookback=L, horizon=1, channels=8, num_layers=3, pooling="max", pool_size=2)
maps, lengths = torch.zeros(1, 1, L), [L]
for layer in deep.convolutions:
    maps = layer(maps)
    if type(layer).__name__ == "MaxPool1d":
        lengths.append(maps.shape[-1])
print("length after each pool:", *lengths)
assert lengths == [96, 48, 24, 12]

# %% [markdown]
# ## How far can it see?
#
# The *receptive field* is how many of the newest samples can move the forecast. In a stack of plain
# convolutions with kernels of 3, each layer adds two samples: ten layers see 21. That is little for hourly
# data.
#
# **Dilation** is the cure: layer after layer, the kernel leaves wider gaps, t, t-1, t-2, then t, t-2, t-4,
# then t, t-4, t-8. The field doubles with each layer, at the same number of weights.


# %% fold
def field_of(dilations: tuple[int, ...]) -> list[set[int]]:
    """Per layer, from the output down, the positions that are read."""
    read = [{0}]
    for dilation in reversed(dilations):
        read.append({place + dilation * k for place in read[-1] for k in range(3)})
    return read


figure, axes = picture(7.4, 4.4, 2, 1)
figure.suptitle("What the newest output sees: four layers with kernels of 3")
for ax, (name, dilations) in zip(axes, {"plain": (1, 1, 1, 1), "dilated": (1, 2, 4, 8)}.items(), strict=True):
    blank(ax)
    read = field_of(dilations)
    ax.set_title(f"{name}: dilations {', '.join(map(str, dilations))}; {max(read[-1]) + 1} samples", loc="left", fontsize=10)
    for depth, places in enumerate(read):
        ax.scatter([-place for place in range(32)], [4 - depth] * 32, s=18, color=GRID)
        ax.scatter([-place for place in places], [4 - depth] * len(places), s=26, color=BAR if depth == 0 else CHOSEN, zorder=3)
        if depth:
            for above in read[depth - 1]:
                for k in range(3):
                    ax.plot([-above, -above - dilations[4 - depth] * k], [5 - depth, 4 - depth], color=CHOSEN, lw=0.5)
    ax.text(0.6, 4, "output", va="center", fontsize=9)
    ax.text(0.6, 0, "input", va="center", fontsize=9)
figure

# %%
assert max(field_of((1, 1, 1, 1))[-1]) + 1 == 9
assert max(field_of((1,) * 10)[-1]) + 1 == 21
assert max(field_of((1, 2, 4, 8))[-1]) + 1 == 31

# %% [markdown]
# The family `tcn` (temporal convolutional network) is built like this, with two convolutions per block, and
# only the newest step makes the forecast. Its field follows a formula. lagline can also *measure* it, with
# the gradient: which input samples move the forecast at all? Formula and measurement agree.

# %%
params = WindowParams(1, {"y": FeatureWindow(96)})
random = torch.randn(64, 96, 1, generator=torch.Generator().manual_seed(0))
for blocks in (1, 2, 3, 4):
    torch.manual_seed(blocks)
    tcn = build_forecaster("tcn", {"channels": 8, "kernel_size": 3, "num_blocks": blocks}, params)
    measured = memory_card(tcn, params, Inputs.zeros(params, 64)._replace(past_BLF=random)).receptive_field
    print(f"{blocks} blocks: formula {tcn.network.receptive_field:3}, measured {measured:3} samples")
    assert measured == tcn.network.receptive_field == 1 + 2 * 2 * (2**blocks - 1)

# %% [markdown]
# What lies beyond the field does not exist for the network. To see it, we let the target repeat the input
# of 20 steps ago. A field of 13 cannot know the answer, however long we train; one of 29 can.

# %%
rng = np.random.default_rng(0)
echo = rng.choice([-1.0, 1.0], 2400)
panel = panel_of({"a": {"y": np.concatenate([np.zeros(20), echo[:-20]]), "x": echo}}, ["x"])
echoing = WindowParams(1, {"x": FeatureWindow(24)})
split = Split("rows", validation=400, test=400)
seen, held_out = (windows_of(panel, echoing, split, part) for part in ("train", "validation"))
errors = {}
for blocks, field in ((2, 13), (3, 29)):
    network = {"channels": 8, "kernel_size": 3, "num_blocks": blocks}
    errors[field] = train("tcn", network, seen, held_out, split, epochs=12, learning_rate=1e-2).val_mae
    print(f"field {field} samples: MAE {errors[field]:.2f}   (1.00 is guessing)")
assert errors[13] > 0.9 and errors[29] < 0.15

# %% [markdown]
# ## What to keep
#
# - A convolution finds local patterns wherever they stand, with few weights and all places at once.
# - Pooling and stride shorten the sequence; dilation widens the view.
# - A CNN has no state: what is outside its receptive field does not exist. Know the field, and compare it
#   with your lookback (`python -m flows variants` lists both).
#
# **Try it yourself.** How many blocks does a `tcn` need for a week of hours, 168 samples? Check your answer
# with `receptive_field`.
#
# Next: [Limits and cures](07_limits_and_cures.md): where both kinds of network fail, and what helps.
