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
from collections.abc import Iterator
from typing import NamedTuple

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

    steps: int = 1500
    texts: int = 4
    budget_bits: int = 14
    taught: int = 300_000
    held_out: int = 4000


FULL = Args(steps=16_000, budget_bits=16, held_out=10_000)


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


class Sent(NamedTuple):
    """Of every step: the index, and the divergence of all texts' next tokens in bits."""

    index: np.ndarray
    kl_bits: np.ndarray


def send(coder: recjax.OrderedRandomCoder, keys: jax.Array, teacher: NGrams, texts: Texts) -> Sent:
    """Sends a token of every text per key."""
    rows = []
    for key in keys:
        target, proposal = teacher.categorical(texts.contexts()), texts.proposal()
        code = coder.encode(key, target, proposal)
        texts.receive(np.asarray(code.sample))
        rows.append((code.index, recjax.kl_bits(target, proposal)))
    return Sent(*map(np.array, zip(*rows, strict=True)))


def receive(
    coder: recjax.OrderedRandomCoder, keys: jax.Array, index: np.ndarray, texts: Texts
) -> Iterator[None]:
    """Receives from indices what `send` sent, and learns; pauses after every step."""
    for key, number in zip(keys, index, strict=True):
        texts.receive(np.asarray(coder.decode(key, number, texts.proposal())))
        yield


def read(lesson: bytes, args: Args, texts: Texts) -> Iterator[float]:
    """Reads real text in pieces side by side; gives the bits that a step takes by arithmetic coding."""
    pieces = np.frombuffer(lesson, np.uint8)[: args.texts * args.steps].reshape(args.texts, -1)
    for tokens in pieces.T:
        weights = np.stack([*map(texts.student.weights, texts.contexts())])
        yield np.log2(weights.sum(1) / weights[np.arange(args.texts), tokens]).sum()
        texts.receive(tokens)


def main(args: Args) -> Figure:
    """Sends, receives, prints what it cost, and draws what students know after so many bits."""
    tokens, characters = manual()
    lesson, exam = tokens[: args.taught], tokens[-args.held_out :]
    teacher = NGrams(len(characters))
    for place in range(ORDER, len(lesson)):
        teacher.learn(lesson[place - ORDER : place], lesson[place])

    coder = recjax.OrderedRandomCoder(budget_bits=args.budget_bits)
    keys = jax.random.split(jax.random.key(0), args.steps)
    sender, receiver, reader = (Texts(args, len(characters)) for _ in range(3))
    sent = send(coder, keys, teacher, sender)
    string = recjax.write_indices(coder, keys, sent.index)  # for a receiver that knows no rate
    index = recjax.read_indices(coder, string, keys)

    pauses = set(np.linspace(0, args.steps, 13).round().astype(int)[1:].tolist())
    lengths = jax.vmap(lambda i: coder.codelength(keys[0], i, sender.proposal()))(index)
    exams: dict[str, list[float]] = {"requential": [], "prequential": []}
    for step, _ in enumerate(receive(coder, keys, index, receiver), start=1):
        if step in pauses:
            exams["requential"].append(receiver.student.bits(exam))
    spent = []
    for step, bits in enumerate(read(lesson, args, reader), start=1):
        spent.append(bits)
        if step in pauses:
            exams["prequential"].append(reader.student.bits(exam))
    assert receiver.tokens == sender.tokens

    n = args.steps * args.texts
    print(
        f"{n} tokens in {len(string)} bytes: {8 * len(string) / n:.2f} bits per token, divergence "
        f"{sent.kl_bits.sum() / n:.2f}; real text by arithmetic coding {np.sum(spent) / n:.2f}"
    )
    print("the receiver's text:", "".join(characters[c] for c in receiver.tokens[0][-200:]))
    curves = {
        "index": np.asarray(lengths),
        "divergence": sent.kl_bits,
        "arithmetic coding": np.array(spent),
    }
    return draw(args, curves, exams, teacher.bits(exam))


def draw(
    args: Args, bits: dict[str, np.ndarray], exams: dict[str, list[float]], teacher: float
) -> Figure:
    """Bits per token against tokens, and bits per held-out token against bits sent."""
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    rate, learnt = figure.subplots(1, 2)
    styles = {"index": "C0o-", "divergence": "k--", "arithmetic coding": "C1s-"}
    names = {
        "index": "requential: index",
        "divergence": "requential: KL divergence",
        "arithmetic coding": "real text, arithmetic coding",
    }
    ends = np.linspace(0, args.steps, 13).round().astype(int)
    for name, style in styles.items():
        means = np.diff(np.concatenate([[0], np.cumsum(bits[name])])[ends]) / np.diff(ends)
        rate.plot(args.texts * ends[1:], means / args.texts, style, ms=4, label=names[name])
    rate.set(xlabel="tokens received", ylabel="bits per token", ylim=(0, None))
    taught = (
        ("requential", "index", "taught by samples of the teacher"),
        ("prequential", "arithmetic coding", "taught by real text"),
    )
    for name, kind, label in taught:
        kilobytes = np.cumsum(bits[kind])[ends[1:] - 1] / 8000
        learnt.plot(kilobytes, exams[name], styles[kind], ms=4, label=label)
    learnt.axhline(teacher, color="k", ls=":", label="the teacher")
    learnt.set(xlabel="kilobytes received", ylabel="bits per token of held-out text")
    for axes in (rate, learnt):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    return figure


if __name__ == "__main__":
    main(tyro.cli(Args)).savefig("requential.png")
