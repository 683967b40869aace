"""Divergences of a target Q from a proposal P, and bounds on the rate and the work of coders."""

from recjax.limits.bounds import a_star_log_index_bound_bits as a_star_log_index_bound_bits
from recjax.limits.bounds import branch_and_bound_steps_bound as branch_and_bound_steps_bound
from recjax.limits.bounds import budget_bits_for_total_variation as budget_bits_for_total_variation
from recjax.limits.bounds import channel_simulation_bounds_bits as channel_simulation_bounds_bits
from recjax.limits.bounds import expected_steps as expected_steps
from recjax.limits.bounds import gprs_log_index_bound_bits as gprs_log_index_bound_bits
from recjax.limits.bounds import gprs_rate_bound_bits as gprs_rate_bound_bits
from recjax.limits.bounds import (
    greedy_rejection_coder_steps_bound as greedy_rejection_coder_steps_bound,
)
from recjax.limits.bounds import (
    greedy_rejection_entropy_bound_bits as greedy_rejection_entropy_bound_bits,
)
from recjax.limits.bounds import hockey_stick as hockey_stick
from recjax.limits.channels import channel_rate_bound_bits as channel_rate_bound_bits
from recjax.limits.channels import functional_information_bits as functional_information_bits
from recjax.limits.channels import mutual_information_bits as mutual_information_bits
from recjax.limits.channels import ring_toss_rate_bound_bits as ring_toss_rate_bound_bits
from recjax.limits.divergences import channel_simulation_bits as channel_simulation_bits
from recjax.limits.divergences import kl_bits as kl_bits
from recjax.limits.divergences import renyi_inf_bits as renyi_inf_bits
from recjax.limits.divergences import width_function as width_function
from recjax.limits.privacy import poisson_private_epsilon as poisson_private_epsilon
from recjax.limits.privacy import (
    poisson_private_log_index_bound_bits as poisson_private_log_index_bound_bits,
)
from recjax.limits.privacy import poisson_private_normal_epsilon as poisson_private_normal_epsilon
