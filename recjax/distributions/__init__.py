"""Coding distributions, targets, and pairs (Q, P) as samplers and limits use them."""

from recjax.distributions.base import Distribution as Distribution
from recjax.distributions.categorical import Categorical as Categorical
from recjax.distributions.channel import Channel as Channel
from recjax.distributions.laplace import Laplace as Laplace
from recjax.distributions.logistic import Logistic as Logistic
from recjax.distributions.normal import Normal as Normal
from recjax.distributions.pair import Pair as Pair
from recjax.distributions.pair import pair_of as pair_of
from recjax.distributions.pair import register_pair as register_pair
from recjax.distributions.triangular import Triangular as Triangular
from recjax.distributions.uniform import Uniform as Uniform
from recjax.distributions.uniform_in_normal import UniformInNormalPair as UniformInNormalPair
from recjax.distributions.uniform_in_tails import UniformInTailsPair as UniformInTailsPair
from recjax.distributions.uniform_mixture import UniformMixture as UniformMixture
