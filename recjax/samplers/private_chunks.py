"""Vectors in chunks for private coders, and the privacy of all chunks together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax import randomness
from recjax.randomness import Stream
from recjax.samplers.base import Code, Coder, batch_of


class PrivateChunks(Coder):
    """A coder with private keys that takes vectors chunk by chunk."""

    def encode_chunks(
        self, keys: Array, targets: Any, proposal: Any, *, chunk: int, private_keys: Array | None
    ) -> Code:
        """Encodes vectors chunk by chunk, all chunks of all vectors in one batch.

        Indices, and the shared randomness of all chunks, are as private as that of the vectors cut
        nowhere, if given its secret a vector has independent components. For two secrets, the
        log-probability of chunk c's index then changes by at most alpha (e_c + e'_c), where e_c and
        e'_c bound ln of the density ratio of the chunk both ways. Those of independent chunks add
        up to the bounds of the whole vector, e and e' <= epsilon, so that
        `recjax.poisson_private_epsilon` of the mechanism's epsilon, 2 alpha epsilon, holds for the
        whole: no composition is to be paid for. That is pure differential privacy, as with Laplace
        noise. An (epsilon, delta) guarantee does not add up in this way; for normal noise
        `recjax.poisson_private_normal_epsilon` has the epsilon of all chunks.

        Args:
            keys: one shared key per vector.
            targets: distributions with event shape ``[d]`` and a leading batch axis.
            proposal: one proposal of event shape ``[d]`` for all vectors.
            chunk: number of components of a chunk, which divides d. About e^D candidates are
                computed, where D = ln max r of a chunk: 3 to 7 is good.
            private_keys: one secret and fresh key per vector.

        Returns:
            A code whose index, steps and status have the shape ``[vectors, d / chunk]``, and whose
            sample has the shape ``[vectors, d]``. Strings take `chunk_keys`, and the flat index.

        Raises:
            ValueError: as for `encode_batch`, or the chunk does not divide d.

        >>> import jax, jax.numpy as jnp, recjax
        >>> x = jnp.zeros((3, 100)).at[:, 0].set(1.0)  # secrets of three users, of L1 norm 1
        >>> q, p = recjax.Laplace(x, 0.5), recjax.Laplace(jnp.zeros(100), 0.5)
        >>> coder, keys = recjax.PoissonPrivate(alpha=2.0), jax.random.split(jax.random.key(0), 3)
        >>> secret = jax.random.split(jax.random.key(123456789), 3)
        >>> code = coder.encode_chunks(keys, q, p, chunk=50, private_keys=secret)
        >>> bool((coder.decode_chunks(keys, code.index, p) == code.sample).all())
        True
        >>> float(recjax.poisson_private_epsilon(2 / 0.5, alpha=2.0))  # L1 distance of secrets: 2
        16.0
        """
        count, batch = _chunks(proposal, chunk), batch_of(keys)
        if private_keys is None or batch_of(private_keys) != batch or len(batch) != 1:
            raise ValueError("private_keys are needed, one secret and fresh key for every vector")
        n = batch[0]
        shape = getattr(targets, "event_shape", ())
        if shape != (n, *proposal.event_shape):
            raise ValueError(
                f"targets: a batch of shape {list(shape)} does not fit {n} keys and "
                f"a proposal of shape {list(proposal.event_shape)}"
            )
        cut = jax.tree.map(lambda x: x.reshape(n * count, chunk, *x.shape[2:]), targets)
        code = self.encode_batch(
            self.chunk_keys(keys, count),
            cut,
            _tiled(proposal, n, count),
            private_keys=self.chunk_keys(private_keys, count),  # pyright: ignore[reportCallIssue]
        )
        index, steps, status = (x.reshape(n, count) for x in (code.index, code.steps, code.status))
        return Code(index, code.sample.reshape(shape), steps, status)

    def decode_chunks(
        self, keys: Array, index: UInt32[Array, "n chunks"], proposal: Any
    ) -> Float[Array, "n d"]:
        """Returns the vectors whose chunks have these indices: the samples of `encode_chunks`.

        Raises:
            ValueError: the shape of ``index`` is not ``[vectors, chunks]``, or the number of chunks
                does not divide the length of the proposal.
        """
        if np.ndim(index) != 2 or batch_of(keys) != np.shape(index)[:1] or not np.size(index):
            raise ValueError(
                f"index must be whole numbers [vectors, chunks], one row per key, got shape "
                f"{list(np.shape(index))}"
            )
        n, count = np.shape(index)
        if proposal.event_size % count:
            raise ValueError(
                f"index: {count} chunks do not divide {proposal.event_size} components"
            )
        decode = jax.vmap(self.decode)
        x = decode(self.chunk_keys(keys, count), jnp.reshape(index, -1), _tiled(proposal, n, count))
        return x.reshape(n, -1)

    def chunk_keys(self, keys: Array, chunks: int) -> UInt32[Array, "n 2"]:
        """The keys of all chunks, one vector after the other, from one key per vector."""
        numbers = jnp.arange(chunks, dtype=jnp.uint32)
        each = jax.vmap(jax.vmap(randomness.stream_key, (None, None, 0)), (0, None, None))
        return each(keys, int(Stream.CHUNK), numbers).reshape(-1, 2)


def _chunks(proposal: Any, chunk: int) -> int:
    """Number of chunks of a vector.

    Raises:
        ValueError: the proposal is no vector, or the chunk does not divide it.
    """
    shape = getattr(proposal, "event_shape", ())
    whole = isinstance(chunk, int | np.integer) and not isinstance(chunk, bool) and chunk > 0
    if len(shape) != 1 or not whole or shape[0] % chunk or not shape[0]:
        raise ValueError(
            f"chunk must divide the length of the proposal, a vector: got {chunk!r} and shape "
            f"{list(shape)}"
        )
    return shape[0] // int(chunk)


def _tiled(proposal: Any, n: int, count: int) -> Any:
    """The proposals of the chunks of n vectors, one after the other."""

    def cut(x):
        x = x.reshape(count, -1, *x.shape[1:])
        return jnp.broadcast_to(x, (n, *x.shape)).reshape(n * count, *x.shape[1:])

    return jax.tree.map(cut, proposal)
