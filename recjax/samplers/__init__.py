"""Relative entropy coders: one algorithm a file."""

from recjax.samplers._search.bins import allot_bits as allot_bits
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
from recjax.samplers.hybrid import HybridIndex as HybridIndex
from recjax.samplers.minimal_random import MinimalRandomCoder as MinimalRandomCoder
from recjax.samplers.ordered_random import OrderedRandomCoder as OrderedRandomCoder
from recjax.samplers.parallel_gprs import ParallelGPRS as ParallelGPRS
from recjax.samplers.poisson_private import PoissonPrivate as PoissonPrivate
from recjax.samplers.rejection import RejectionSampler as RejectionSampler
from recjax.samplers.ring_toss import RingToss as RingToss
from recjax.samplers.space_partitioning import SpacePartitionedAStar as SpacePartitionedAStar
from recjax.samplers.space_partitioning import SpacePartitionedGPRS as SpacePartitionedGPRS
