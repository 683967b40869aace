"""The check that is shipped for coders of one's own: passes good coders, and names what is wrong with others."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import recjax
from recjax.samplers import BudgetCoder, ExactCoder, Stream, Verdict, ZetaCode, used_until
from recjax.testing import check_coder

TARGET, PROPOSAL = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejection(ExactCoder):
    """Right as it is; its subclasses have a fault each."""

    def start(self, pair):
        return ()

    def examine(self, pair, state, chunk):
        accepted = chunk.exponentials(Stream.ACCEPT) > pair.log_ratio_max() - chunk.log_ratio
        used, stopped = used_until(accepted)
        return Verdict(state, used, stopped, chunk.index[used - 1])


class Undecorated(Rejection):
    pass


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed(Rejection):
    """A setting that cannot be hashed."""

    settings: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut(Rejection):
    """The best accepted candidate of a chunk instead of the first."""

    def examine(self, pair, state, chunk):
        verdict = super().examine(pair, state, chunk)
        accepted = chunk.exponentials(Stream.ACCEPT) > pair.log_ratio_max() - chunk.log_ratio
        best = jnp.argmax(jnp.where(accepted, chunk.log_ratio, -jnp.inf))
        return dataclasses.replace(verdict, index=chunk.index[best])


@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherSample(Rejection):
    """A decoder that does not know the offset of the encoder."""

    def decode(self, key, index, proposal):
        return super().decode(key, index, proposal) + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clamping(Rejection):
    """A decoder that does not refuse a number out of range."""

    def decode(self, key, index, proposal):
        return super().decode(key, jnp.minimum(index, self.limit - 1), proposal)


class ShortCode(ZetaCode):
    def length(self, number):
        return super().length(number) / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Understated(Rejection):
    """Lengths that the string does not keep."""

    def index_code(self, proposal, rate_bits):
        return ShortCode(last=self.limit - 1, proposal=proposal, rate_bits=rate_bits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endless(Rejection):
    """Says that a search which met the cap is done."""

    def exhausted(self, state):
        return jnp.int32(recjax.Status.DONE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Greedy(BudgetCoder):
    """Keeps the contract, but its samples do not follow the target."""

    def start_noise(self):
        return ()

    def log_noise(self, noise, chunk):
        return noise, jnp.zeros_like(chunk.log_ratio)


def test_a_good_coder_passes():
    check_coder(Rejection(), TARGET, PROPOSAL, cdf=TARGET.cdf)


@pytest.mark.parametrize(
    ("coder", "message"),
    [
        (Undecorated(), "has to be decorated"),
        (Listed(), "not hashable"),
        (Cut(), "encode_batch and jax.vmap"),
        (Clamping(), "decode has to raise"),
        # each of these compiles a search
        pytest.param(OtherSample(), "decode does not give", marks=pytest.mark.slow),
        pytest.param(Understated(), "the sum of codelengths", marks=pytest.mark.slow),
        pytest.param(Endless(), "have to end there", marks=pytest.mark.slow),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_are_named(coder, message):
    with pytest.raises(AssertionError, match=message):
        check_coder(coder, TARGET, PROPOSAL, key=jax.random.key(1), rate_bits=2.0)


def test_the_law_is_checked_where_it_is_given():
    check_coder(Greedy(budget_bits=6), TARGET, PROPOSAL)
    with pytest.raises(AssertionError, match="do not follow cdf"):
        check_coder(Greedy(budget_bits=6), TARGET, PROPOSAL, cdf=TARGET.cdf)
