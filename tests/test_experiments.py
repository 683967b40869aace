"""The examples that train, for a few steps."""

import pytest

from experiments import autoencoder

pytestmark = pytest.mark.standard_promotion


@pytest.mark.slow
def test_an_autoencoder_whose_latents_are_sent(capsys):
    pytest.importorskip("matplotlib")
    results = autoencoder.main(steps=40, batch=32, latents=4, price=0.02, seed=0)
    printed = capsys.readouterr().out
    assert f"{results['written']:.2f} bits a patch" in printed
    # the divergence and about 2.5 bits a latent
    assert results["kl"] < results["written"] < results["kl"] + 4 * 3.5
    assert results["psnr"] > 12
