"""Checks of a coder of your own, by the contract that all coders of recjax keep."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from recjax.limits.divergences import kl_bits
from recjax.samplers._streams.index_stream import read_indices, write_indices
from recjax.samplers.base import Code, Coder, Status

_COUNT = 1000  # samples
_SINGLE = 4  # of which so many are encoded one by one too
_FRAME_BITS = 32  # of a string's head and checksum


def check_coder(
    coder: Coder,
    target: Any,
    proposal: Any,
    *,
    key: Array | None = None,
    rate_bits: float | None = None,
    cdf: Callable[[Any], Any] | None = None,
) -> None:
    """Checks that a coder keeps the contract of `recjax.Coder`, by 1000 samples of one target.

    The coder has to be a frozen, hashable dataclass. The same codes have to come from `encode`,
    from `encode` under ``jax.jit`` and ``jax.vmap``, and from `encode_batch`; `decode` has to give
    the encoder's samples bit for bit. Coders over a list of candidates cut it into other chunks in
    a batch than for one example, so that a rule that depends on the cut is found out.

    Lengths of indices have to be finite. With the rate and without one, `recjax.write_indices` has
    to take their sum within 8 bits beside its head and checksum, and 0.05 bits per sample for the
    rounding of tables, and `recjax.read_indices` has to return the indices. An index of the largest
    numbers of its type has to be refused, and parameters that are refused have to give
    `Status.INVALID` where they are traced. If the coder has a setting ``max_steps``, searches
    beyond a lower cap have to end with `Status.MAX_STEPS`, the others as before.

    Args:
        coder: the coder.
        target: one target, which the coder codes in few steps.
        proposal: the proposal.
        key: the key from which the samples' keys are split, ``jax.random.key(0)`` by default.
        rate_bits: the rate that the code is tuned for, the target's divergence by default.
        cdf: the cumulative distribution function of a continuous scalar target. If it is given, the
            samples have to follow it (Kolmogorov-Smirnov test, p > 1e-4).

    Raises:
        AssertionError: the contract does not hold; the message says where.

    >>> import recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> check_coder(recjax.AStar(), q, p, cdf=q.cdf)
    """
    _check_settings(coder)
    keys = jax.random.split(jax.random.key(0) if key is None else key, _COUNT)
    codes = _check_encoders(coder, keys, target, proposal)
    _check_decoder(coder, keys, codes, proposal)
    rate_bits = float(kl_bits(target, proposal)) if rate_bits is None else rate_bits
    for rate in (rate_bits, None):
        _check_lengths(coder, keys, codes.index, proposal, rate)
    _check_refusals(coder, keys[0], codes, target, proposal, rate_bits)
    if hasattr(coder, "max_steps"):
        _check_cap(coder, keys, codes, target, proposal)
    if cdf is not None:
        _check_law(np.asarray(codes.sample), cdf)


def _check_settings(coder: Any) -> None:
    name = type(coder).__name__
    parameters = vars(type(coder)).get("__dataclass_params__")  # not those of a base class
    _require(
        parameters is not None and parameters.frozen,
        f"{name} has to be decorated with @dataclasses.dataclass(frozen=True, kw_only=True)",
    )
    try:
        same = dataclasses.replace(coder)
        _require(same == coder and hash(same) == hash(coder), f"copies of a {name} are not equal")
    except TypeError as error:
        raise AssertionError(f"a {name} is not hashable: {error}") from error


def _check_encoders(coder: Coder, keys: Array, target: Any, proposal: Any) -> Code:
    codes = jax.vmap(coder.encode, (0, None, None))(keys, target, proposal)
    _require(
        codes.steps.dtype == codes.status.dtype == jnp.int32
        and codes.steps.shape == codes.status.shape == keys.shape,
        "steps and status have to be int32 scalars",
    )
    known = [status.value for status in Status if status is not Status.INVALID]
    _require(np.isin(codes.status, known).all(), "a status is none, or INVALID for a valid pair")
    compiled = jax.jit(coder.encode)
    for i in range(_SINGLE):
        code = jax.tree.map(lambda x, i=i: x[i], codes)
        single = coder.encode(keys[i], target, proposal)
        _require(_same(single, code), "encode and jax.vmap(encode) differ")
        _require(_same(compiled(keys[i], target, proposal), code), "encode and jit(encode) differ")
    targets = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(keys), *jnp.shape(x))), target)
    batch = coder.encode_batch(keys, targets, proposal)
    _require(
        _same(batch, codes),
        "encode_batch and jax.vmap(encode) differ: does the rule depend on how the list is cut?",
    )
    return codes


def _check_decoder(coder: Coder, keys: Array, codes: Code, proposal: Any) -> None:
    samples = jax.vmap(coder.decode, (0, 0, None))(keys, codes.index, proposal)
    _require(_same(samples, codes.sample), "decode does not give the encoder's samples")
    for i in range(_SINGLE):
        index, sample = jax.tree.map(lambda x, i=i: x[i], (codes.index, codes.sample))
        single = coder.decode(keys[i], index, proposal)
        _require(_same(single, sample), "decode and jax.vmap(decode) differ")


def _check_lengths(
    coder: Coder, keys: Array, index: Any, proposal: Any, rate_bits: float | None
) -> None:
    def codelength(key, index):
        return coder.codelength(key, index, proposal, rate_bits=rate_bits)

    lengths = np.asarray(jax.vmap(codelength)(keys, index), np.float64)
    _require((np.isfinite(lengths) & (lengths >= 0)).all(), "a codelength is negative or infinite")
    single = codelength(keys[0], jax.tree.map(lambda x: x[0], index))
    _require(np.allclose(single, lengths[0], rtol=1e-5), "codelength and its jax.vmap differ")

    data = write_indices(coder, keys, index, rate_bits=rate_bits, proposal=proposal)
    back = read_indices(coder, data, keys, rate_bits=rate_bits, proposal=proposal)
    equal = jax.tree.map(np.array_equal, back, index)
    _require(all(jax.tree.leaves(equal)), "read_indices does not return what write_indices wrote")
    bits = 8 * len(data) - _FRAME_BITS
    _require(
        abs(bits - lengths.sum()) <= 8 + 0.05 * len(keys),
        f"write_indices takes {bits} bits, the sum of codelengths is {lengths.sum():.0f}",
    )


def _check_refusals(
    coder: Coder, key: Array, codes: Code, target: Any, proposal: Any, rate_bits: float
) -> None:
    largest = jax.tree.map(
        lambda x: np.full(x.shape[1:], jnp.iinfo(x.dtype).max, x.dtype), codes.index
    )
    for name, call in (
        ("decode", lambda: coder.decode(key, largest, proposal)),
        ("codelength", lambda: coder.codelength(key, largest, proposal, rate_bits=rate_bits)),
    ):
        _require(_refuses(call), f"{name} has to raise a ValueError for an index out of range")

    bad = jax.tree.map(
        lambda x: jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x, target
    )
    # a target without violations of its own may have no parameter that is refused
    if _refuses(lambda: coder.encode(key, bad, proposal)):
        status = jax.jit(coder.encode)(key, bad, proposal).status
        _require(status == Status.INVALID, "traced parameters of NaN have to give Status.INVALID")


def _check_cap(coder: Any, keys: Array, codes: Code, target: Any, proposal: Any) -> None:
    cap = max(int(jnp.max(codes.steps)) // 2, 1)
    short = np.asarray(codes.steps) <= cap
    capped_coder = dataclasses.replace(coder, max_steps=cap)
    capped = jax.vmap(capped_coder.encode, (0, None, None))(keys, target, proposal)
    capped_short, expected = jax.tree.map(lambda x: x[short], (capped, codes))
    _require(_same(capped_short, expected), f"max_steps={cap} changes codes of fewer steps")
    _require(
        (capped.status[~short] == Status.MAX_STEPS).all() and (capped.steps <= cap).all(),
        f"searches beyond max_steps={cap} have to end there with Status.MAX_STEPS",
    )
    _check_decoder(capped_coder, keys, capped, proposal)


def _check_law(samples: np.ndarray, cdf: Callable[[Any], Any]) -> None:
    _require(samples.ndim == 1, "cdf: the target has to be a scalar")
    heights = np.sort(np.asarray(cdf(samples), np.float64))
    steps = np.arange(len(heights) + 1) / len(heights)
    distance = max(np.max(steps[1:] - heights), np.max(heights - steps[:-1]))
    # P(distance > d) is less than 2 exp(-2 n d^2) (Massart, 1990)
    p = min(2 * math.exp(-2 * len(heights) * distance**2), 1)
    _require(p > 1e-4, f"the samples do not follow cdf: p = {p:.1g} in a Kolmogorov-Smirnov test")


def _refuses(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


def _same(actual: Any, expected: Any) -> bool:
    """Whether structure, dtypes, shapes and bits are equal."""
    if jax.tree.structure(actual) != jax.tree.structure(expected):
        return False
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def _require(holds: Any, message: str) -> None:
    """Raises an AssertionError, also where Python leaves out assert statements."""
    if not holds:
        raise AssertionError(message)
