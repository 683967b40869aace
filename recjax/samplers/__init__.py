"""Relative entropy coders: one algorithm per file, under the contract of `recjax.samplers.base`.

The coders are names of `recjax` itself. The names of this module are for writing new ones.
"""

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "BudgetCoder": "recjax.samplers.global_coder",
    "Chunk": "recjax.samplers._search.candidate_rule",
    "ExactCoder": "recjax.samplers.global_coder",
    "GlobalCoder": "recjax.samplers.global_coder",
    "IndexCode": "recjax.samplers.index_code",
    "Stream": "recjax.randomness",
    "UniformCode": "recjax.samplers._streams.numbers",
    "Verdict": "recjax.samplers._search.candidate_rule",
    "ZetaCode": "recjax.samplers._streams.numbers",
    "ZipfCode": "recjax.samplers._streams.numbers",
    "any_violation": "recjax.distributions.base",
    "checked_batch": "recjax.samplers.index_code",
    "checked_index": "recjax.samplers.base",
    "coordinate_bits": "recjax.randomness",
    "exponential": "recjax.randomness",
    "pair_of": "recjax.distributions.pair",
    "stream_key": "recjax.randomness",
    "uniform": "recjax.randomness",
    "used_until": "recjax.samplers._search.candidate_rule",
}

if TYPE_CHECKING:
    from recjax.distributions.base import any_violation as any_violation
    from recjax.distributions.pair import pair_of as pair_of
    from recjax.randomness import Stream as Stream
    from recjax.randomness import coordinate_bits as coordinate_bits
    from recjax.randomness import exponential as exponential
    from recjax.randomness import stream_key as stream_key
    from recjax.randomness import uniform as uniform
    from recjax.samplers._search.candidate_rule import Chunk as Chunk
    from recjax.samplers._search.candidate_rule import Verdict as Verdict
    from recjax.samplers._search.candidate_rule import used_until as used_until
    from recjax.samplers._streams.numbers import UniformCode as UniformCode
    from recjax.samplers._streams.numbers import ZetaCode as ZetaCode
    from recjax.samplers._streams.numbers import ZipfCode as ZipfCode
    from recjax.samplers.base import checked_index as checked_index
    from recjax.samplers.global_coder import BudgetCoder as BudgetCoder
    from recjax.samplers.global_coder import ExactCoder as ExactCoder
    from recjax.samplers.global_coder import GlobalCoder as GlobalCoder
    from recjax.samplers.index_code import IndexCode as IndexCode
    from recjax.samplers.index_code import checked_batch as checked_batch


def __getattr__(name: str) -> Any:  # whoever needs one module of this package loads no other
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'recjax.samplers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME)
