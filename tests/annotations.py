"""The checker that jaxtyping's import hook applies to annotated functions (see conftest.py)."""

import beartype

# as for static checkers, an int may stand where a float is expected
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
