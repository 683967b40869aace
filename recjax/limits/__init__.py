"""What is possible: divergences of a target Q from a proposal P that bound the rate and the work of any coder."""

from recjax.limits.divergences import channel_simulation_bits as channel_simulation_bits
from recjax.limits.divergences import kl_bits as kl_bits
from recjax.limits.divergences import renyi_inf_bits as renyi_inf_bits
from recjax.limits.divergences import width_function as width_function
