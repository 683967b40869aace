"""The examples of the documentation, tiny: they run, and receivers see what senders say."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from experiments.examples import diffusion, photograph_vector, private_mean, requential, vae_latents
from experiments.examples.__main__ import NAMES, OUT
from experiments.examples.numpy_receiver import Settings, receive

pytestmark = pytest.mark.standard_promotion

CALLS = [(5000, [100]), (300, [33.3, 0, 5])]
ORDERED, TRELLIS = Settings(10, 3), Settings(12, 4, "trellis")


def normals(settings: Settings, d: int, kl_bits):
    """A string of calls for random means, and the samples."""
    coder, key = recjax.VectorCoder(**settings._asdict()), jax.random.key(7)
    unit = recjax.Normal(jnp.zeros(d), 1.0)
    codes = []
    for call, kl in enumerate(kl_bits):
        mean = jax.random.normal(jax.random.key(call), (d,))
        mean *= np.sqrt(2 * kl * np.log(2)) / jnp.linalg.norm(mean)
        target = recjax.Normal(mean, 1.0)
        codes.append(coder.encode(key, target, unit, kl_bits=kl, call=call))
    index = [code.index for code in codes]
    string = recjax.write_indices(coder, key, index, kl_bits=kl_bits, proposal=unit)
    return string, [code.sample for code in codes]


@pytest.mark.parametrize("settings", [ORDERED, TRELLIS])
@pytest.mark.parametrize(("d", "kl_bits"), CALLS)
def test_numpy_alone_receives_vectors(settings, d, kl_bits):
    string, samples = normals(settings, d, kl_bits)
    received = receive(string, (0, 7), d, kl_bits, settings)
    np.testing.assert_allclose(received, samples, atol=2e-6)


def test_numpy_alone_refuses_damage_and_other_calls():
    string, _ = normals(ORDERED, 1000, [33.3, 0, 5])
    damaged = string[:5] + bytes([string[5] ^ 1]) + string[6:]
    for data, kl_bits in (
        (damaged, [33.3, 0, 5]),
        (string, [33.3, 5]),
        (string[:-1], [33.3, 0, 5]),
    ):
        with pytest.raises(ValueError, match="damaged"):
            receive(data, (0, 7), 1000, kl_bits, ORDERED)


def test_the_receiver_loads_numpy_and_no_jax():
    script = (
        "import sys, experiments.examples.numpy_receiver; "
        "sys.exit(bool({'jax', 'recjax', 'constriction', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_photograph_as_a_vector(capsys):
    photograph_vector.main(photograph_vector.Args(block_bits=8))
    lines = capsys.readouterr().out.splitlines()
    slopes = [float(line.split()[-1]) for line in lines]
    assert len(slopes) == 2 and min(slopes) > 0.85 and max(slopes) < 1.05


def test_steps_back_are_the_posterior_of_the_forward_process():
    """x' = sqrt(b) x_0 + noise of variance 1 - b, and x = sqrt(a / b) x' + noise: Bayes' rule by hand."""
    x, x_0, snr, after = 0.3, -0.7, 0.5, 2.0
    a, b = snr / (1 + snr), after / (1 + after)
    precision = 1 / (1 - b) + (a / b) / (1 - a / b)
    mean = (b**0.5 * x_0 / (1 - b) + (a / b) ** 0.5 * x / (1 - a / b)) / precision
    law = diffusion.back(jnp.array([x]), jnp.array([x_0]), jnp.float32(snr), jnp.float32(after))
    np.testing.assert_allclose(law.loc, [mean], rtol=1e-5)
    np.testing.assert_allclose(law.scale, [precision**-0.5], rtol=1e-5)


@pytest.mark.slow
def test_a_diffusion_model_coded_step_by_step(capsys):
    args = diffusion.Args(
        training_steps=30, width=16, layers=1, coded_steps=5, step_bits=8, images=3
    )
    figure = diffusion.main(args)
    (axes,) = figure.subfigs[1].axes
    exact = axes.lines[0].get_xdata()
    np.testing.assert_allclose(np.diff(exact), 8, rtol=0.5)  # what the schedule says
    assert all(line.get_ydata()[-1] > line.get_ydata()[0] for line in axes.lines)


@pytest.mark.slow
def test_a_receiver_of_images_sees_the_sender_s_guesses():
    args = diffusion.Args(training_steps=5, width=8, layers=1, coded_steps=3, step_bits=8)
    images = diffusion.digits(20, seed=0)
    model = diffusion.train(args, images)
    snr = diffusion.schedule(model, images, args)
    codec = diffusion.Codec(recjax.VectorCoder(block_bits=10), 8)
    sent = codec.encode(jax.random.key(0), model, snr, images[:2])
    received = codec.decode(jax.random.key(0), model, snr, sent.note.index)
    np.testing.assert_allclose(received.guess, sent.guess, atol=1e-5)
    string = codec.string(jax.random.key(0), sent.note.index[:, 0])
    bits = float(codec.bits(jax.random.key(0), sent.note.index)[:, 0].sum())
    assert bits + 32 - 1 <= 8 * len(string) <= bits + 32 + 8


@pytest.mark.slow
def test_latents_of_an_autoencoder():
    found = vae_latents.measure(vae_latents.Args(steps=20, latents=4, block_bits=8), price=0.03)
    divergence, exact, ordered, trellis = found.values()
    assert exact.bits > ordered.bits > divergence.bits
    assert trellis.bits == pytest.approx(divergence.bits, abs=0.2)
    assert exact.psnr == pytest.approx(divergence.psnr, abs=0.2)


def test_a_private_mean_has_the_error_of_its_noise():
    args = private_mean.Args(clients=20, dimension=100)
    sent = private_mean.estimate(args, sigma=1.0)
    # 100 squares of variance 1 / 20 each, a chi-squared number: 5 deviations of sqrt(2 / 100)
    assert sent.error == pytest.approx(100 / 20, rel=5 * 0.02**0.5)
    assert sent.bits < 32 * 100 / 10


def test_students_learn_from_whole_numbers():
    student = requential.NGrams(4)
    assert (student.weights(b"\0" * requential.ORDER) == requential.UNIT // 4).all()
    text = bytes([0, 1, 2, 3] * 20)
    for place in range(requential.ORDER, len(text)):
        student.learn(text[place - requential.ORDER : place], text[place])
    weights = student.weights(text[-requential.ORDER :])  # the next is 0
    assert weights.argmax() == 0 and weights[0] > 0.9 * weights.sum() and weights.min() >= 1
    assert student.bits(text) < 0.2


@pytest.mark.slow
def test_a_language_model_by_requential_coding(capsys):
    figure = requential.main(
        requential.Args(steps=250, budget_bits=12, taught=100_000, held_out=200)
    )
    assert "1000 tokens" in capsys.readouterr().out
    divergence = figure.axes[0].lines[1].get_ydata()
    assert divergence[-3:].mean() < divergence[:3].mean()  # the student learns


def test_every_example_has_a_page_and_a_picture():
    for name in NAMES:
        assert (OUT / f"{name}.png").stat().st_size > 20_000, name
        assert (OUT.parents[1] / "examples" / f"{name}.md").is_file(), name
