"""Elman and GRU layers that train faster on a CPU than torch's, with the same weights and mathematics.

In training on a CPU torch runs a dozen small operations per time step, with a product for the weights'
gradient in each.  Here a whole layer is one function: the input's part of the gates is one product for
`STEPS_PER_MATMUL` steps, and so is the weights' gradient, both while their operands are still in the cache
(Appleyard et al. 2016, arXiv 1604.01946, did so for GPUs); nothing is allocated inside the loop; and tanh a =
2 sigmoid(2 a) - 1, with the factor 2 in the weights, since torch's sigmoid is five times as fast as its tanh.
Everywhere else (evaluation, export, other devices, relu, mixed precision) the layers are torch's own.  LSTMs
stay torch's: oneDNN has one for the CPU.
Shapes: L lookback, B batch, F features, D hidden size; time comes first in here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

STEPS_PER_MATMUL = 8  # steps per product: their gates and gradients stay in a core's second-level cache
MINUS_ONE, ZERO = torch.tensor(-1.0), torch.tensor(0.0)

tanh_backward = torch.ops.aten.tanh_backward.grad_input
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


class ElmanLayer(torch.autograd.Function):
    """h_t = tanh(W x_t + U h_(t-1) + b): x [L, B, F], first state [B, D] -> every state [L, B, D], the last [B, D]."""

    @staticmethod
    def forward(ctx: Any, x_LBF: Tensor, first_BD: Tensor, w_DF: Tensor, u_DD: Tensor, b_D: Tensor) -> tuple[Tensor, Tensor]:
        (length, batch, _), size = x_LBF.shape, u_DD.shape[0]
        states = x_LBF.new_empty(length + 1, batch, size)
        states[0] = first_BD
        w_FD, u_twice_DD, b_twice_D = (2 * w_DF).t(), (2 * u_DD).t(), 2 * b_D
        gates = x_LBF.new_empty(STEPS_PER_MATMUL, batch, size)
        state, gate = states.unbind(0), gates.unbind(0)
        for start, steps in _chunks(length):
            torch.addmm(b_twice_D, _rows(x_LBF, start, steps), w_FD, out=_rows(gates, 0, steps))
            for k in range(steps):
                gate[k].addmm_(state[start + k], u_twice_DD).sigmoid_()
                torch.add(MINUS_ONE, gate[k], alpha=2, out=state[start + k + 1])
        ctx.save_for_backward(x_LBF, w_DF, u_DD, states)
        ctx.set_materialize_grads(False)
        return states[1:], states[length]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor | None, d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        x_LBF, w_DF, u_DD, states = ctx.saved_tensors
        state, above = states.unbind(0), None if d_states is None else d_states.unbind(0)
        d_BD = torch.zeros_like(states[0]) if d_last is None else d_last.clone()
        gates = states.new_empty(STEPS_PER_MATMUL, *d_BD.shape)
        d_gate, grads = gates.unbind(0), _Gradients(ctx, x_LBF, w_DF, u_DD)
        for start, steps in _chunks(len(x_LBF), backwards=True):
            for k in range(steps - 1, -1, -1):
                if above is not None:
                    d_BD += above[start + k]
                tanh_backward(d_BD, state[start + k + 1], grad_input=d_gate[k])
                torch.mm(d_gate[k], u_DD, out=d_BD)
            d = _rows(gates, 0, steps)
            grads.add(x_LBF, states, start, steps, d, d)
        return grads.x, d_BD, grads.w, grads.u, grads.w_bias


class GruLayer(torch.autograd.Function):
    """torch's GRU (Cho et al. 2014, the reset gate after the product): shapes as `ElmanLayer`, gates r, z, n in [3 D, ...].

    r, z = sigmoid(W x + U h + b + c), n = tanh(W x + b + r (U h + c)), h' = (1 - z) n + z h.
    """

    @staticmethod
    def forward(
        ctx: Any, x_LBF: Tensor, first_BD: Tensor, w_GF: Tensor, u_GD: Tensor, b_G: Tensor, c_G: Tensor
    ) -> tuple[Tensor, Tensor]:
        (length, batch, _), size = x_LBF.shape, u_GD.shape[1]
        both = 2 * size  # r and z are adjacent
        states = x_LBF.new_empty(length + 1, batch, size)
        states[0] = first_BD
        rz, n, inner = (x_LBF.new_empty(length, batch, width) for width in (both, size, size))  # inner: 2 (U h + c) of n
        state, gate, new, inside = (part.unbind(0) for part in (states, rz, n, inner))
        reset, update = rz[..., :size].unbind(0), rz[..., size:].unbind(0)
        bias_rz, bias_n, bias_inner = (b_G + c_G)[:both], 2 * b_G[both:], 2 * c_G[both:]
        w_rz, w_n = w_GF[:both].t(), (2 * w_GF[both:]).t()
        u_rz, u_n = u_GD[:both].t().contiguous(), (2 * u_GD[both:]).t().contiguous()
        for start, steps in _chunks(length):
            x = _rows(x_LBF, start, steps)
            torch.addmm(bias_rz, x, w_rz, out=_rows(rz, start, steps))
            torch.addmm(bias_n, x, w_n, out=_rows(n, start, steps))
            for t in range(start, start + steps):
                gate[t].addmm_(state[t], u_rz).sigmoid_()
                torch.addmm(bias_inner, state[t], u_n, out=inside[t])
                new[t].addcmul_(reset[t], inside[t]).sigmoid_()
                torch.add(MINUS_ONE, new[t], alpha=2, out=new[t])
                torch.lerp(new[t], state[t], update[t], out=state[t + 1])
        ctx.save_for_backward(x_LBF, w_GF, u_GD, states, rz, n, inner)
        ctx.set_materialize_grads(False)
        return states[1:], states[length]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor | None, d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        x_LBF, w_GF, u_GD, states, rz, n, inner = ctx.saved_tensors
        size = u_GD.shape[1]
        state, gate, new, inside = (part.unbind(0) for part in (states, rz, n, inner))
        reset, update = rz[..., :size].unbind(0), rz[..., size:].unbind(0)
        above = None if d_states is None else d_states.unbind(0)
        d_BD = torch.zeros_like(states[0]) if d_last is None else d_last.clone()
        kept, other = torch.empty_like(d_BD), torch.empty_like(d_BD)
        # gradients of the products with x (r, z, n) and h (r, z, n times r): only n differs
        with_h, with_x = (states.new_empty(STEPS_PER_MATMUL, *d_BD.shape[:1], 3 * size) for _ in range(2))
        d_h, d_rz = with_h.unbind(0), with_h[..., : 2 * size].unbind(0)
        d_r, d_z, d_inner = (part.unbind(0) for part in with_h.split(size, dim=-1))
        d_n = with_x[..., 2 * size :].unbind(0)
        grads = _Gradients(ctx, x_LBF, w_GF, u_GD)
        for start, steps in _chunks(len(x_LBF), backwards=True):
            for k in range(steps - 1, -1, -1):
                t = start + k
                if above is not None:
                    d_BD += above[t]
                torch.mul(d_BD, update[t], out=kept)
                torch.sub(state[t], new[t], out=other)
                torch.mul(d_BD, other, out=d_z[k])
                torch.sub(d_BD, kept, out=other)
                tanh_backward(other, new[t], grad_input=d_n[k])
                torch.addcmul(ZERO, d_n[k], inside[t], value=0.5, out=d_r[k])
                sigmoid_backward(d_rz[k], gate[t], grad_input=d_rz[k])
                torch.mul(d_n[k], reset[t], out=d_inner[k])
                torch.addmm(kept, d_h[k], u_GD, out=d_BD)
            with_x[:steps, :, : 2 * size] = with_h[:steps, :, : 2 * size]
            grads.add(x_LBF, states, start, steps, _rows(with_x, 0, steps), _rows(with_h, 0, steps))
        return grads.x, d_BD, grads.w, grads.u, grads.w_bias, grads.u_bias


class _Gradients:
    """The gradients of a layer's input and weights, summed chunk by chunk from those of its gates."""

    def __init__(self, ctx: Any, x_LBF: Tensor, w_GF: Tensor, u_GD: Tensor) -> None:
        self.x = torch.empty_like(x_LBF) if ctx.needs_input_grad[0] else None
        self.w_GF, self.w, self.u = w_GF, torch.zeros_like(w_GF), torch.zeros_like(u_GD)
        self.w_bias, self.u_bias = w_GF.new_zeros(len(w_GF)), w_GF.new_zeros(len(w_GF))

    def add(self, x_LBF: Tensor, states: Tensor, start: int, steps: int, with_x: Tensor, with_h: Tensor) -> None:
        """`with_x`, `with_h` [steps B, G]: of the gates' products with the input and with the state."""
        self.u.addmm_(with_h.t(), _rows(states, start, steps))
        self.w.addmm_(with_x.t(), _rows(x_LBF, start, steps))
        self.w_bias += with_x.sum(0)
        if with_h is not with_x:
            self.u_bias += with_h.sum(0)
        if self.x is not None:
            torch.mm(with_x, self.w_GF, out=_rows(self.x, start, steps))


def _chunks(length: int, backwards: bool = False) -> list[tuple[int, int]]:
    """(first step, steps) of every chunk of `STEPS_PER_MATMUL` steps."""
    chunks = [(start, min(STEPS_PER_MATMUL, length - start)) for start in range(0, length, STEPS_PER_MATMUL)]
    return chunks[::-1] if backwards else chunks


def _rows(part_LBX: Tensor, start: int, steps: int) -> Tensor:
    """[steps B, X]: some steps as the rows of a matrix, without copying."""
    return part_LBX[start : start + steps].flatten(0, 1)


def _apply(layer: nn.RNNBase, name: str, x_LBF: Tensor, first_BD: Tensor) -> tuple[Tensor, Tensor]:
    """One layer in one direction; `name`: the suffix of its weights' names."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(layer, f"{kind}_{name}") for kind in kinds)
    if isinstance(layer, nn.GRU):
        outputs: tuple[Tensor, Tensor] = GruLayer.apply(x_LBF, first_BD, w, u, b, c)  # type: ignore[no-untyped-call]
        return outputs
    outputs = ElmanLayer.apply(x_LBF, first_BD, w, u, b + c)  # type: ignore[no-untyped-call]
    return outputs


def _fast(layer: nn.RNNBase, x: object, first: object) -> bool:
    """Whether the functions above support a call."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.device.type != "cpu" or not (first is None or isinstance(first, Tensor)):
        return False
    training = layer.training and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
    return training and layer.batch_first and layer.bias


def _forward(layer: nn.RNNBase, x_BLF: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
    """Every layer and direction in turn: [B, L, F], [layers directions, B, D] -> [B, L, directions D], the last states."""
    x_LBF, last = x_BLF.transpose(0, 1).contiguous(), list[Tensor]()
    nothing = x_BLF.new_zeros(x_BLF.shape[0], layer.hidden_size)
    for number in range(layer.num_layers):
        if number and layer.dropout:
            x_LBF = nn.functional.dropout(x_LBF, layer.dropout)
        both = []
        for way in ("", "_reverse")[: 1 + layer.bidirectional]:
            begin = nothing if first is None else first[len(last)]
            states, end = _apply(layer, f"l{number}{way}", x_LBF.flip(0) if way else x_LBF, begin)
            both.append(states.flip(0) if way else states)
            last.append(end)
        x_LBF = torch.cat(both, dim=-1) if len(both) > 1 else both[0]
    return x_LBF.transpose(0, 1), torch.stack(last)


class Elman(nn.RNN):
    """`torch.nn.RNN`, faster in training on a CPU."""

    def forward(self, x: Any, first: Any = None) -> Any:
        """Same signature as torch's."""
        return _forward(self, x, first) if self.nonlinearity == "tanh" and _fast(self, x, first) else super().forward(x, first)


class Gru(nn.GRU):
    """`torch.nn.GRU`, faster in training on a CPU."""

    def forward(self, x: Any, first: Any = None) -> Any:
        """Same signature as torch's."""
        return _forward(self, x, first) if _fast(self, x, first) else super().forward(x, first)
