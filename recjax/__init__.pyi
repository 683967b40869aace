"""The public names of recjax, one line each: for type checkers, editors, and ``recjax`` itself."""

from recjax import codec as codec
from recjax import distributions as distributions
from recjax import errors as errors
from recjax import limits as limits
from recjax import modalities as modalities
from recjax import samplers as samplers
from recjax import testing as testing
from recjax.codec import Encoding as Encoding
from recjax.codec import compress as compress
from recjax.codec import compress_batch as compress_batch
from recjax.codec import decompress as decompress
from recjax.codec import decompress_batch as decompress_batch
from recjax.codec import encode as encode
from recjax.codec import load_prior as load_prior
from recjax.distributions import Categorical as Categorical
from recjax.distributions import Channel as Channel
from recjax.distributions import Laplace as Laplace
from recjax.distributions import Normal as Normal
from recjax.distributions import Pair as Pair
from recjax.distributions import Triangular as Triangular
from recjax.distributions import Uniform as Uniform
from recjax.distributions import UniformMixture as UniformMixture
from recjax.distributions import register_pair as register_pair
from recjax.errors import FormatError as FormatError
from recjax.limits import a_star_log_index_bound_bits as a_star_log_index_bound_bits
from recjax.limits import branch_and_bound_steps_bound as branch_and_bound_steps_bound
from recjax.limits import budget_bits_for_total_variation as budget_bits_for_total_variation
from recjax.limits import channel_rate_bound_bits as channel_rate_bound_bits
from recjax.limits import channel_simulation_bits as channel_simulation_bits
from recjax.limits import channel_simulation_bounds_bits as channel_simulation_bounds_bits
from recjax.limits import expected_steps as expected_steps
from recjax.limits import functional_information_bits as functional_information_bits
from recjax.limits import gprs_log_index_bound_bits as gprs_log_index_bound_bits
from recjax.limits import gprs_rate_bound_bits as gprs_rate_bound_bits
from recjax.limits import greedy_rejection_coder_steps_bound as greedy_rejection_coder_steps_bound
from recjax.limits import greedy_rejection_entropy_bound_bits as greedy_rejection_entropy_bound_bits
from recjax.limits import hockey_stick as hockey_stick
from recjax.limits import kl_bits as kl_bits
from recjax.limits import mutual_information_bits as mutual_information_bits
from recjax.limits import poisson_private_epsilon as poisson_private_epsilon
from recjax.limits import (
    poisson_private_log_index_bound_bits as poisson_private_log_index_bound_bits,
)
from recjax.limits import renyi_inf_bits as renyi_inf_bits
from recjax.limits import ring_toss_rate_bound_bits as ring_toss_rate_bound_bits
from recjax.limits import width_function as width_function
from recjax.modalities import Signal as Signal
from recjax.modalities import load as load
from recjax.modalities import save as save
from recjax.samplers._search.bins import allot_bits as allot_bits
from recjax.samplers._streams.hybrid import HybridIndex as HybridIndex
from recjax.samplers._streams.index_stream import read_indices as read_indices
from recjax.samplers._streams.index_stream import write_indices as write_indices
from recjax.samplers.a_star import AStar as AStar
from recjax.samplers.a_star_coder import AStarCoder as AStarCoder
from recjax.samplers.base import Code as Code
from recjax.samplers.base import Coder as Coder
from recjax.samplers.base import Status as Status
from recjax.samplers.branch_and_bound_gprs import BranchAndBoundGPRS as BranchAndBoundGPRS
from recjax.samplers.budgeted_a_star import BudgetedAStar as BudgetedAStar
from recjax.samplers.dithered import DitheredQuantizer as DitheredQuantizer
from recjax.samplers.gprs import GPRS as GPRS
from recjax.samplers.greedy_rejection import GreedyRejectionSampler as GreedyRejectionSampler
from recjax.samplers.greedy_rejection_coder import GreedyRejectionCoder as GreedyRejectionCoder
from recjax.samplers.hybrid import HybridCoder as HybridCoder
from recjax.samplers.minimal_random import MinimalRandomCoder as MinimalRandomCoder
from recjax.samplers.ordered_random import OrderedRandomCoder as OrderedRandomCoder
from recjax.samplers.parallel_gprs import ParallelGPRS as ParallelGPRS
from recjax.samplers.poisson_private import PoissonPrivate as PoissonPrivate
from recjax.samplers.rejection import RejectionSampler as RejectionSampler
from recjax.samplers.ring_toss import RingToss as RingToss
from recjax.samplers.space_partitioning import SpacePartitionedAStar as SpacePartitionedAStar
from recjax.samplers.space_partitioning import SpacePartitionedGPRS as SpacePartitionedGPRS

__version__: str
