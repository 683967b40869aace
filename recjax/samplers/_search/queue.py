"""Open nodes of a tree in a queue of few slots, for one search or for a batch.

Slots are the first axis of a queue's arrays, and the searches of a batch their last: what is done
with all slots then runs over many searches at a time.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from recjax.samplers._search import tree
from recjax.samplers._search.fence import computed_once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Entry:
    """An open node.

    Attributes:
        node: the node.
        time: the arrival time of its draw.
        log_bound: an upper bound of ln r in its interval.
    """

    node: tree.Node
    time: Float[Array, ""]
    log_bound: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Child:
    """A child of a node that is closed.

    Attributes:
        entry: the child.
        priority: its priority.
        kept: whether it becomes an open node.
    """

    entry: Entry
    priority: Float[Array, "*lanes"]
    kept: Bool[Array, "*lanes"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Queue:
    """Open nodes.

    Attributes:
        entries: the node in each slot.
        priority: its priority, -inf for a slot that is free.
    """

    entries: Entry
    priority: Float[Array, "capacity *lanes"]

    def first(self, never: Bool[Array, "*lanes"]) -> tuple[Int[Array, "*lanes"], Entry]:
        """The slot of the highest priority and its entry; ``never`` as for `computed_once`."""
        slots = _slots(self.priority)
        # the first of the highest: an argmax of a batch is slow
        lower = self.priority < jnp.max(self.priority, 0)
        slot = computed_once(jnp.min(jnp.where(lower, len(slots), slots), 0), never)
        # masked sums, because indexed reads of a batch are slow
        entry = jax.tree.map(
            lambda x: jnp.sum(jnp.where(slots == slot, x, 0), 0, dtype=x.dtype), self.entries
        )
        return slot, computed_once(entry, never)

    def replaced(
        self, slot: Int[Array, "*lanes"], left: Child, right: Child, never: Bool[Array, "*lanes"]
    ) -> tuple["Queue", Bool[Array, "*lanes"]]:
        """The queue with a node's children in its place, and whether an open node is lost.

        Args:
            slot: the slot of the node, which is closed.
            left, right: its children.
            never: as for `computed_once`.
        """
        # A left child that is kept takes the slot, which is free now.
        slots = _slots(self.priority)
        here = jnp.where(left.kept, left.priority, -jnp.inf)
        priority = jnp.where(slots == slot, here, self.priority)
        # A right child that is kept takes the first slot of the lowest priority, which is -inf if
        # any slot is free. If none is, an open node is lost.
        lowest = jnp.min(priority, 0)
        place = jnp.min(jnp.where(priority > lowest, len(slots), slots), 0)
        full = right.kept & (lowest > -jnp.inf)
        # a child that is not kept takes a slot beyond the last
        left_slot = jnp.where(left.kept, slot, len(slots))
        right_slot = jnp.where(right.kept, place, len(slots))
        full, left_slot, right_slot = computed_once((full, left_slot, right_slot), never)
        # masks over all slots, because indexed updates of a batch are slow
        entries = jax.tree.map(
            lambda old, left, right: jnp.where(
                slots == right_slot, right, jnp.where(slots == left_slot, left, old)
            ),
            self.entries,
            left.entry,
            right.entry,
        )
        return Queue(entries, jnp.where(slots == right_slot, right.priority, priority)), full

    def is_empty(self) -> Bool[Array, "*lanes"]:
        """Whether no node is open."""
        return ~jnp.any(self.priority > -jnp.inf, 0)


def queue_of(entry: Entry, priority: Float[Array, ""], capacity: int) -> Queue:
    """The queue of one open node."""
    # every slot holds a copy of it, but only the first one is open
    entries = jax.tree.map(lambda x: jnp.broadcast_to(x, (capacity,)), entry)
    return Queue(entries, jnp.where(jnp.arange(capacity) == 0, priority, -jnp.inf))


def _slots(priority: Float[Array, "capacity *lanes"]) -> Int[Array, "capacity ..."]:
    """The numbers of the slots, against which one slot per lane is compared."""
    shape = (len(priority), *[1] * (priority.ndim - 1))
    return jax.lax.broadcasted_iota(jnp.int32, shape, 0)
