"""Requential coding of a language model: a receiver learns from a better model's tokens at KL(teacher || student) bits.

Instead of data, the sender sends samples of a teacher, and every sample costs what the teacher knows and the student
does not yet know: nothing in the end (Finzi et al., *From entropy to epiplexity*, 2026). Both sides hold the student,
count the tokens that arrive, and so have the same proposal for the next ones. Prequential coding, beside it, sends
text by the student's own probabilities, at -log2 p(token) bits.

Teacher and student are mixtures of n-grams of characters, in whole numbers, so that both sides have equal proposals.
The teacher has read a part of Python's own manual. Some texts are written side by side: their next tokens are
independent given the past, a `Categorical` event with one index for all, so that the bit or two that an index takes
beside its divergence are shared.
"""

import collections
import dataclasses
import pydoc_data.topics
from collections.abc import Callable, Iterator

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure

import recjax

ORDER = 5  # characters of context
UNIT = 1 << 20  # probabilities are multiples of 1 / UNIT


@dataclasses.dataclass(frozen=True)
class Args:
    """Setting.

    Attributes:
        steps: tokens of each text.
        texts: texts side by side.
        budget_bits: log2 of the number of candidates of a step.
        taught: characters that the teacher has read.
        held_out: characters that students are tested on.
    """

    steps: int = 1000
    texts: int = 8
    budget_bits: int = 14
    taught: int = 300_000
    held_out: int = 4000


FULL = Args(steps=8000, held_out=10_000)


class NGrams:
    """Probabilities of the next of ``size`` tokens after contexts of 0 to `ORDER`, from counts.

    Each context mixes its counts with the probabilities after the next shorter one, by the number of different tokens
    that followed it (Witten and Bell, 1991). All is whole numbers.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts: dict[bytes, collections.Counter[int]] = {}

    def learn(self, context: bytes, token: int) -> None:
        for start in range(ORDER + 1):
            self.counts.setdefault(context[start:], collections.Counter())[token] += 1

    def weights(self, context: bytes) -> np.ndarray:
        """Whole numbers [size] in proportion to the probabilities, none of them 0."""
        weights = np.full(self.size, UNIT // self.size)
        for start in range(ORDER, -1, -1):
            found = self.counts.get(context[start:])
            if found is None:  # nor has a longer context been seen
                break
            weights *= len(found)
            weights[list(found)] += UNIT * np.fromiter(found.values(), int)
            weights //= len(found) + found.total()
        return np.maximum(weights, 1)

    def categorical(self, contexts: list[bytes]) -> recjax.Categorical:
        """The next tokens after some contexts."""
        return recjax.Categorical(
            np.log(np.stack([*map(self.weights, contexts)])).astype(np.float32)
        )

    def bits(self, tokens: bytes) -> float:
        """Bits per token of a text."""
        total = 0.0
        for place in range(ORDER, len(tokens)):
            weights = self.weights(tokens[place - ORDER : place])
            total += np.log2(weights.sum() / weights[tokens[place]])
        return total / (len(tokens) - ORDER)


def manual() -> tuple[bytes, str]:
    """Python's manual of its language as tokens, and the character of each token."""
    pages = " ".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    text = " ".join(pages.encode("ascii", "ignore").decode().split())
    characters = "".join(sorted(set(text)))
    return bytes(characters.index(c) for c in text), characters


class Texts:
    """A student and the texts that it has received."""

    def __init__(self, args: Args, size: int) -> None:
        self.student = NGrams(size)
        self.tokens = [bytearray(ORDER) for _ in range(args.texts)]

    def contexts(self) -> list[bytes]:
        return [bytes(text[-ORDER:]) for text in self.tokens]

    def proposal(self) -> recjax.Categorical:
        return self.student.categorical(self.contexts())

    def receive(self, tokens: np.ndarray) -> None:
        for text, context, token in zip(self.tokens, self.contexts(), tokens.tolist(), strict=True):
            self.student.learn(context, token)
            text.append(token)


