"""LSTM, GRU and RNN in JAX, from torch's weights, each a function ``(weights, x) -> outputs`` to be jitted.

* ``scan``: `lax.scan` over inputs that are projected at once, with weights laid out as the products read
  them; also with the scan unrolled eight times.
* ``outside``: the same, but in training the scan only yields the gradients of the activations, and one
  product after it forms those of the weights, where the plain scan adds them up step by step. Best at B 1.
* ``units first``: both products inside the scan, activations and states [H, B]: XLA's products on a
  processor are much quicker that way round and in that size. Best of batches.
* ``flax``: nnx.RNN of OptimizedLSTMCell, GRUCell or SimpleCell; ``equinox``: its cells under `vmap`, `scan`.

Flax's GRU has no recurrent bias on its candidate: compare layers whose bias there is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox
import jax
import numpy as np
from flax import nnx
from jax import lax
from jax import numpy as jnp
from torch import Tensor, nn

Weights = Any  # a tree of arrays
Layer = Callable[[Weights, jax.Array], jax.Array]


def _lstm(state: Any, a: jax.Array, recurrent: jax.Array, axis: int) -> Any:
    _, c = state
    i, f, g, o = jnp.split(a + recurrent, 4, axis)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(state: Any, a: jax.Array, recurrent: jax.Array, axis: int) -> Any:
    (h,) = state
    ar, az, an = jnp.split(a, 3, axis)
    rr, rz, rn = jnp.split(recurrent, 3, axis)
    n = jnp.tanh(an + jax.nn.sigmoid(ar + rr) * rn)
    return (n + jax.nn.sigmoid(az + rz) * (h - n),)


def _rnn(state: Any, a: jax.Array, recurrent: jax.Array, axis: int) -> Any:
    return (jnp.tanh(a + recurrent),)


STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def weights(layer: nn.Module) -> dict[str, jax.Array]:
    """Of a torch layer, transposed: wi [I, G], wh [H, G], bi and bh [G]; biases that only add up are one."""
    found = {n: jnp.asarray(p.detach().numpy()) for n, p in layer.named_parameters()}
    bi, bh = found["bias_ih_l0"], found["bias_hh_l0"]
    made = {"wi": found["weight_ih_l0"].T, "wh": found["weight_hh_l0"].T}
    if not isinstance(layer, nn.GRU):
        return {**made, "bi": bi + bh}
    H = layer.hidden_size
    return {**made, "bi": bi.at[: 2 * H].add(bh[: 2 * H]), "bn": bh[2 * H :]}


def _recurrent(kind: str, w: Weights, h: jax.Array) -> jax.Array:
    product = h @ w["wh"]
    return product.at[:, 2 * h.shape[-1] :].add(w["bn"]) if kind == "GRU" else product


def _zeros(kind: str, w: Weights, x: jax.Array) -> tuple[jax.Array, ...]:
    return (jnp.zeros((x.shape[1], w["wh"].shape[0])),) * (2 if kind == "LSTM" else 1)


def scan(kind: str, unroll: int, w: Weights, x: jax.Array) -> jax.Array:
    def step(state: Any, a: jax.Array) -> Any:
        state = STEPS[kind](state, a, _recurrent(kind, w, state[0]), 1)
        return state, state[0]

    return lax.scan(step, _zeros(kind, w, x), x @ w["wi"] + w["bi"], unroll=unroll)[1]


def units_first(kind: str, w: Weights, x: jax.Array) -> jax.Array:
    H = w["wh"].shape[1]

    def step(state: Any, x_t: jax.Array) -> Any:
        recurrent = w["wh"] @ state[0]
        if kind == "GRU":
            recurrent = recurrent.at[2 * H :].add(w["bn"][:, None])
        state = STEPS[kind](state, w["wi"] @ x_t.T + w["bi"][:, None], recurrent, 0)
        return state, state[0].T

    zeros = (jnp.zeros((H, x.shape[1])),) * (2 if kind == "LSTM" else 1)
    return lax.scan(step, zeros, x)[1]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def outside(kind: str, unroll: int, w: Weights, x: jax.Array) -> jax.Array:
    return scan(kind, unroll, w, x)


def _outside_forward(kind: str, unroll: int, w: Weights, x: jax.Array) -> Any:
    """The weights are constants of the scan; what is differentiated are both summands of the gates."""

    def steps(a: jax.Array, zeros: jax.Array) -> jax.Array:
        def step(state: Any, inputs: Any) -> Any:
            recurrent = _recurrent(kind, w, state[0]) + (inputs[1] if kind == "GRU" else 0)
            state = STEPS[kind](state, inputs[0], recurrent, 1)
            return state, state[0]

        return lax.scan(step, _zeros(kind, w, x), (a, zeros), unroll=unroll)[1]

    a = x @ w["wi"] + w["bi"]
    zeros = jnp.zeros_like(a) if kind == "GRU" else jnp.zeros(len(a))
    output, pull = jax.vjp(steps, a, zeros)
    return output, (w, x, output, pull)


def _outside_backward(kind: str, unroll: int, saved: Any, gradient: jax.Array) -> Any:
    w, x, output, pull = saved
    da, dr = pull(gradient)
    dr = dr if kind == "GRU" else da
    # h before each step but the first, where it is zero
    dwh = jnp.einsum("tbh,tbg->hg", output[:-1], dr[1:])
    made = {"wi": jnp.einsum("tbi,tbg->ig", x, da), "wh": dwh, "bi": da.sum((0, 1))}
    if kind == "GRU":
        made["bn"] = dr[:, :, 2 * output.shape[-1] :].sum((0, 1))
    return made, da @ w["wi"].T


outside.defvjp(_outside_forward, _outside_backward)


def flax_layer(layer: nn.Module) -> tuple[Layer, Weights]:
    kinds = {"LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell, "RNN": nnx.SimpleCell}
    cell = kinds[type(layer).__name__](layer.input_size, layer.hidden_size, rngs=nnx.Rngs(0))
    w = weights(layer)
    cell.dense_i.kernel[...], cell.dense_h.kernel[...] = w["wi"], w["wh"]
    (cell.dense_h if isinstance(layer, nn.LSTM) else cell.dense_i).bias[...] = w["bi"]
    graph, parameters, rest = nnx.split(nnx.RNN(cell, time_major=True, rngs=False), nnx.Param, ...)

    def call(parameters: Weights, x: jax.Array) -> jax.Array:
        zeros = jnp.zeros((x.shape[1], layer.hidden_size))
        start = (zeros, zeros) if isinstance(layer, nn.LSTM) else zeros
        return nnx.merge(graph, parameters, rest)(x, initial_carry=start)

    return call, parameters


def equinox_layer(layer: nn.Module) -> tuple[Layer, Weights]:
    kinds = {"LSTM": equinox.nn.LSTMCell, "GRU": equinox.nn.GRUCell}
    kind = type(layer).__name__
    cell = kinds[kind](layer.input_size, layer.hidden_size, key=jax.random.key(0))
    w = weights(layer)
    cell = equinox.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias), cell, (w["wi"].T, w["wh"].T, w["bi"])
    )
    if kind == "GRU":
        cell = equinox.tree_at(lambda c: c.bias_n, cell, w["bn"])
    parameters, static = equinox.partition(cell, equinox.is_array)

    def call(parameters: Weights, x: jax.Array) -> jax.Array:
        cell = jax.vmap(equinox.combine(parameters, static))

        def step(state: Any, x_t: jax.Array) -> Any:
            state = cell(x_t, state)
            return state, state[0] if kind == "LSTM" else state

        zeros = jnp.zeros((x.shape[1], layer.hidden_size))
        return lax.scan(step, (zeros, zeros) if kind == "LSTM" else zeros, x)[1]

    return call, parameters


def layers(layer: nn.Module) -> dict[str, tuple[Layer, Weights]]:
    """Every form of a torch layer, with its weights."""
    kind = type(layer).__name__
    w = weights(layer)
    forms: dict[str, tuple[Layer, Weights]] = {
        "scan": (partial(scan, kind, 1), w),
        "scan of 8": (partial(scan, kind, 8), w),
        "outside": (partial(outside, kind, 1), w),
        "units first": (partial(units_first, kind), {**w, "wi": w["wi"].T, "wh": w["wh"].T}),
        "flax": flax_layer(layer),
    }
    if kind != "RNN":  # equinox has none
        forms["equinox"] = equinox_layer(layer)
    return forms


def inference(form: Layer, w: Weights, x: Tensor) -> Callable[[], np.ndarray]:
    """One call, jitted; its outputs."""
    compiled = jax.jit(form)
    given = jnp.asarray(x.numpy())
    return lambda: compiled(w, given).block_until_ready()


def training(form: Layer, w: Weights, x: Tensor, gradient: Tensor) -> Callable[[], Any]:
    """One pass forward and backward; ((loss), (gradients of the weights, gradient of x))."""
    upstream = jnp.asarray(gradient.numpy())

    def loss(w: Weights, x: jax.Array) -> jax.Array:
        return jnp.vdot(form(w, x), upstream)

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1)))
    given = jnp.asarray(x.numpy())
    return lambda: jax.block_until_ready(compiled(w, given))
