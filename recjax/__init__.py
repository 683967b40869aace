"""Relative entropy coding in JAX: samplers, their limits, and a codec for images.

The public names below are imported on first use, so that ``import recjax`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "codec": (
        "Encoding",
        "compress",
        "compress_batch",
        "decompress",
        "decompress_batch",
        "encode",
        "load_prior",
    ),
    "distributions": (
        "Categorical",
        "Channel",
        "Laplace",
        "Normal",
        "Pair",
        "Triangular",
        "Uniform",
        "UniformMixture",
        "register_pair",
    ),
    "errors": ("FormatError",),
    "limits": (
        "a_star_log_index_bound_bits",
        "branch_and_bound_steps_bound",
        "channel_rate_bound_bits",
        "budget_bits_for_total_variation",
        "channel_simulation_bits",
        "channel_simulation_bounds_bits",
        "expected_steps",
        "functional_information_bits",
        "gprs_log_index_bound_bits",
        "gprs_rate_bound_bits",
        "greedy_rejection_coder_steps_bound",
        "greedy_rejection_entropy_bound_bits",
        "hockey_stick",
        "kl_bits",
        "mutual_information_bits",
        "poisson_private_epsilon",
        "poisson_private_log_index_bound_bits",
        "renyi_inf_bits",
        "ring_toss_rate_bound_bits",
        "width_function",
    ),
    "modalities": ("Signal", "load", "save"),
    "samplers": (
        "AStar",
        "AStarCoder",
        "BranchAndBoundGPRS",
        "BudgetedAStar",
        "Code",
        "DitheredQuantizer",
        "GPRS",
        "GreedyRejectionCoder",
        "GreedyRejectionSampler",
        "HybridCoder",
        "HybridIndex",
        "MinimalRandomCoder",
        "OrderedRandomCoder",
        "ParallelGPRS",
        "PoissonPrivate",
        "RejectionSampler",
        "RingToss",
        "SpacePartitionedAStar",
        "SpacePartitionedGPRS",
        "Status",
        "allot_bits",
    ),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

if TYPE_CHECKING:  # the same names, for type checkers and editors
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
    from recjax.limits import (
        greedy_rejection_coder_steps_bound as greedy_rejection_coder_steps_bound,
    )
    from recjax.limits import (
        greedy_rejection_entropy_bound_bits as greedy_rejection_entropy_bound_bits,
    )
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
    from recjax.samplers import GPRS as GPRS
    from recjax.samplers import AStar as AStar
    from recjax.samplers import AStarCoder as AStarCoder
    from recjax.samplers import BranchAndBoundGPRS as BranchAndBoundGPRS
    from recjax.samplers import BudgetedAStar as BudgetedAStar
    from recjax.samplers import Code as Code
    from recjax.samplers import DitheredQuantizer as DitheredQuantizer
    from recjax.samplers import GreedyRejectionCoder as GreedyRejectionCoder
    from recjax.samplers import GreedyRejectionSampler as GreedyRejectionSampler
    from recjax.samplers import HybridCoder as HybridCoder
    from recjax.samplers import HybridIndex as HybridIndex
    from recjax.samplers import MinimalRandomCoder as MinimalRandomCoder
    from recjax.samplers import OrderedRandomCoder as OrderedRandomCoder
    from recjax.samplers import ParallelGPRS as ParallelGPRS
    from recjax.samplers import PoissonPrivate as PoissonPrivate
    from recjax.samplers import RejectionSampler as RejectionSampler
    from recjax.samplers import RingToss as RingToss
    from recjax.samplers import SpacePartitionedAStar as SpacePartitionedAStar
    from recjax.samplers import SpacePartitionedGPRS as SpacePartitionedGPRS
    from recjax.samplers import Status as Status
    from recjax.samplers import allot_bits as allot_bits


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"recjax.{_HOME[name]}"), name)
    if name in _PUBLIC:  # recjax.samplers without importing it first
        return importlib.import_module(f"recjax.{name}")
    raise AttributeError(f"module 'recjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_HOME, *_PUBLIC, "__version__"])
