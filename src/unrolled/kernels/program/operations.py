"""torch's operations by name, in terms of a program's own.

Each takes the recorder and torch's arguments. What is not here a program cannot express.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from unrolled.kernels.program.proxy import MatrixProxy, Proxy, Untraceable, number

if TYPE_CHECKING:
    from unrolled.kernels.program.tracing import Recorder

Operation = Callable[..., Any]


def _unary(op: str) -> Operation:
    return lambda r, a: r.apply(op, a)


def _binary(op: str) -> Operation:
    return lambda r, a, b: r.apply(op, a, b)


def _scaled(op: str) -> Operation:
    return lambda r, a, b, alpha=1: r.apply(op, a, b if alpha == 1 else r.apply("mul", b, alpha))


def _comparison(op: str, *, swap: bool = False, negate: bool = False) -> Operation:
    def compare(r: Recorder, a: Any, b: Any) -> Proxy:
        result = r.apply(op, b, a) if swap else r.apply(op, a, b)
        return r.mask(r.apply("sub", 1.0, result) if negate else result)

    return compare


def _relu(r: Recorder, a: Any, inplace: bool = False) -> Proxy:
    return r.apply("relu", a)


def _pow(r: Recorder, a: Any, exponent: Any) -> Proxy:
    power = number(exponent)
    special = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "recip"}
    if power in special:
        return r.apply(special[power], a)
    if power is None or power not in (1.0, 2.0, 3.0, 4.0, -2.0):
        raise Untraceable(
            f"it raises to the power {exponent if power is not None else 'of a tensor'}"
        )
    result = base = r.apply("recip", a) if power < 0 else a
    for _ in range(int(abs(power)) - 1):
        result = r.apply("mul", result, base)
    return result


def _softplus(r: Recorder, a: Any, beta: float = 1, threshold: float = 20) -> Proxy:
    if (beta, threshold) != (1, 20):
        raise Untraceable("it uses softplus with a beta or threshold of its own")
    return r.apply("softplus", a)


def _logsigmoid(r: Recorder, a: Any) -> Proxy:
    return r.apply("neg", r.apply("softplus", r.apply("neg", a)))


def _silu(r: Recorder, a: Any, inplace: bool = False) -> Proxy:
    return r.apply("mul", a, r.apply("sigmoid", a))


def _leaky_relu(r: Recorder, a: Any, negative_slope: float = 0.01, inplace: bool = False) -> Proxy:
    return r.apply("where", r.apply("lt", 0.0, a), a, r.apply("mul", a, negative_slope))


def _elu(r: Recorder, a: Any, alpha: float = 1.0, inplace: bool = False) -> Proxy:
    below = r.apply("sub", r.apply("exp", r.apply("min", a, 0.0)), 1.0)
    return r.apply("where", r.apply("lt", 0.0, a), a, r.apply("mul", below, alpha))


def _sign(r: Recorder, a: Any) -> Proxy:
    return r.apply("sub", r.apply("lt", 0.0, a), r.apply("lt", a, 0.0))


def _clamp(r: Recorder, a: Any, min: Any = None, max: Any = None) -> Proxy:
    for op, bound in (("max", min), ("min", max)):
        if bound is not None:
            a = r.apply(op, a, bound)
    return a  # type: ignore[no-any-return]


def _where(r: Recorder, condition: Any, a: Any, b: Any) -> Proxy:
    if not (isinstance(condition, Proxy) and condition.mask):
        raise Untraceable("it uses where with a condition that is no comparison")
    return r.apply("where", condition, a, b)


def _masked_fill(r: Recorder, a: Any, mask: Any, value: Any) -> Proxy:
    return _where(r, mask, value, a)


def _lerp(r: Recorder, start: Any, end: Any, weight: Any) -> Proxy:
    return r.apply("add", start, r.apply("mul", weight, r.apply("sub", end, start)))


def _addcmul(r: Recorder, a: Any, b: Any, c: Any, value: float = 1) -> Proxy:
    return _scaled("add")(r, a, r.apply("mul", b, c), alpha=value)  # type: ignore[no-any-return]


def _logaddexp(r: Recorder, a: Any, b: Any) -> Proxy:
    gap = r.apply("neg", r.apply("abs", r.apply("sub", a, b)))
    return r.apply("add", r.apply("max", a, b), r.apply("log1p", r.apply("exp", gap)))


def _logical(op: str) -> Operation:
    def combine(r: Recorder, a: Any, b: Any) -> Proxy:
        if not all(isinstance(x, Proxy) and x.mask for x in (a, b)):
            raise Untraceable("it uses & or | on what is no comparison")
        if op == "xor":
            return r.mask(r.apply("sub", 1.0, r.apply("eq", a, b)))
        return r.mask(r.apply(op, a, b))

    return combine


def _not(r: Recorder, a: Any) -> Proxy:
    if not a.mask:
        raise Untraceable("it uses ~ on what is no comparison")
    return r.mask(r.apply("sub", 1.0, a))


def _reduction(op: str) -> Operation:
    def reduce(r: Recorder, a: Proxy, dim: Any = None, keepdim: bool = False) -> Proxy:
        return r.reduce(op, a, dim, keepdim)

    return reduce


def _variance(
    r: Recorder,
    a: Proxy,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    correction: int | None = None,
) -> Proxy:
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    if correction not in (0, 1):
        raise Untraceable(f"it uses the variance with correction {correction}")
    centred = r.apply("sub", a, r.reduce("mean", a, dim, keepdim))
    variance = r.reduce("mean", r.apply("mul", centred, centred), dim, keepdim)
    if correction == 0:
        return variance
    units = r.units(a)
    return r.apply("mul", variance, r.apply("div", units, r.apply("sub", units, 1.0)))


def _deviation(r: Recorder, a: Proxy, *args: Any, **options: Any) -> Proxy:
    return r.apply("sqrt", _variance(r, a, *args, **options))


def _softmax(r: Recorder, a: Proxy, dim: Any = None, *_: Any, **__: Any) -> Proxy:
    shifted = r.apply("sub", a, r.apply("stop", r.reduce("amax", a, dim, True)))
    weights = r.apply("exp", shifted)
    return r.apply("div", weights, r.reduce("sum", weights, dim, True))


def _log_softmax(r: Recorder, a: Proxy, dim: Any = None, *_: Any, **__: Any) -> Proxy:
    shifted = r.apply("sub", a, r.apply("stop", r.reduce("amax", a, dim, True)))
    total = r.reduce("sum", r.apply("exp", shifted), dim, True)
    return r.apply("sub", shifted, r.apply("log", total))


def _layer_norm(
    r: Recorder,
    a: Proxy,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Proxy:
    _over_units(a, normalized_shape)
    centred = r.apply("sub", a, r.reduce("mean", a, -1, True))
    variance = r.reduce("mean", r.apply("mul", centred, centred), -1, True)
    result = r.apply("mul", centred, r.apply("rsqrt", r.apply("add", variance, eps)))
    result = result if weight is None else r.apply("mul", result, weight)
    return result if bias is None else r.apply("add", result, bias)


def _rms_norm(
    r: Recorder, a: Proxy, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Proxy:
    _over_units(a, normalized_shape)
    epsilon = torch.finfo(r.dtype).eps if eps is None else eps
    square = r.reduce("mean", r.apply("mul", a, a), -1, True)
    result = r.apply("mul", a, r.apply("rsqrt", r.apply("add", square, epsilon)))
    return result if weight is None else r.apply("mul", result, weight)


def _over_units(a: Proxy, normalized_shape: Any) -> None:
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    if shape != [a.shape[-1]]:
        raise Untraceable("it normalises over more than the units")


def _linear(r: Recorder, a: Any, weight: Any, bias: Any = None) -> Proxy:
    if not isinstance(weight, MatrixProxy) or weight.transposed:
        raise Untraceable("it multiplies by a matrix that is no parameter as it is")
    return r.product(a, weight, bias)


def _matmul(r: Recorder, a: Any, b: Any) -> Proxy:
    if not isinstance(b, MatrixProxy) or not b.transposed:
        raise Untraceable("it multiplies by a matrix otherwise than as F.linear does")
    return r.product(a, b, None)


def _transpose(r: Recorder, a: Any, *_: Any) -> Proxy:
    if not isinstance(a, MatrixProxy):
        raise Untraceable("it transposes a tensor")
    return MatrixProxy(r, a.source, transposed=not a.transposed)


def _addmm(r: Recorder, bias: Any, a: Any, b: Any) -> Proxy:
    return r.apply("add", _matmul(r, a, b), bias)


OPERATIONS: dict[str, Operation] = {
    **{name: _unary(name) for name in ("neg", "sigmoid", "tanh", "exp", "log", "log1p", "sqrt")},
    **{name: _unary(name) for name in ("rsqrt", "abs")},
    **{name: _unary("neg") for name in ("negative",)},
    **{name: _unary("stop") for name in ("detach",)},
    "absolute": _unary("abs"),
    "reciprocal": _unary("recip"),
    "relu": _relu,
    "softplus": _softplus,
    "logsigmoid": _logsigmoid,
    "log_sigmoid": _logsigmoid,
    "silu": _silu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sign": _sign,
    "square": lambda r, a: r.apply("mul", a, a),
    "expit": _unary("sigmoid"),
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "subtract": _scaled("sub"),
    "rsub": lambda r, a, b: r.apply("sub", b, a),
    "mul": _binary("mul"),
    "multiply": _binary("mul"),
    "div": _binary("div"),
    "divide": _binary("div"),
    "true_divide": _binary("div"),
    "truediv": _binary("div"),
    "rdiv": lambda r, a, b: r.apply("div", b, a),
    "pow": _pow,
    "maximum": _binary("max"),
    "minimum": _binary("min"),
    "max": _binary("max"),
    "min": _binary("min"),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": lambda r, a, min: _clamp(r, a, min=min),
    "clamp_max": lambda r, a, max: _clamp(r, a, max=max),
    "lt": _comparison("lt"),
    "le": _comparison("le"),
    "gt": _comparison("lt", swap=True),
    "ge": _comparison("le", swap=True),
    "eq": _comparison("eq"),
    "ne": _comparison("eq", negate=True),
    "where": _where,
    "masked_fill": _masked_fill,
    "logical_and": _logical("min"),
    "logical_or": _logical("max"),
    "logical_xor": _logical("xor"),
    "bitwise_and": _logical("min"),
    "bitwise_or": _logical("max"),
    "logical_not": _not,
    "bitwise_not": _not,
    "lerp": _lerp,
    "addcmul": _addcmul,
    "logaddexp": _logaddexp,
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    "amax": _reduction("amax"),
    "var": _variance,
    "std": _deviation,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "t": _transpose,
    "transpose": _transpose,
    "T": _transpose,
    "mT": _transpose,
}
for _alias in ("gt", "ge", "lt", "le", "eq", "ne"):
    for _long in {
        "gt": ("greater",),
        "ge": ("greater_equal",),
        "lt": ("less",),
        "le": ("less_equal",),
        "ne": ("not_equal",),
    }.get(_alias, ()):
        OPERATIONS[_long] = OPERATIONS[_alias]
