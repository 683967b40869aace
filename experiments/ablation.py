"""What each part of RECOMBINER and COMBINER is worth on CIFAR-10, at one rate, in real files.

    python -m experiments.ablation --data FOLDER --work FOLDER

``--data`` holds ``train_4000.npz`` and ``test_150.npz`` with ``images`` (uint8 [N, 32, 32, 3]). A small prior is
trained for every setting, all for the same rate, rounds and images, and test images are coded with each. An interrupted
run, or one that ``--max-minutes`` ended, goes on where it was: checkpoints, priors and measured files stay under
``--work``.

An encoder steers every block to its budget, so the rate of a file is the number of blocks of its prior. Training ends
near the wanted KL, but not at it; then the latents are put into as many blocks as the wanted rate takes.

The input features are learned with the networks, as everywhere in recjax; ``--no-learn-features`` leaves them as they
start, as the papers do, whose networks are larger and saw far more images; its priors and results have names of their
own. Without positional encodings as many Fourier features take their place.
"No prior learning" is the prior as training begins: the mean is SIREN's random initialisation, the scale one for all
weights of a layer, and blocks have equally many weights. "No refinement" has no steps after the coding of a block.
The papers train larger networks for longer on more images; what is compared with them is the order and the sign.
"""

import dataclasses
import json
import math
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

import recjax
from experiments.cifar10 import mean_and_error, n_pixels
from experiments.coding_gap import repartitioned
from experiments.outputs import save
from experiments.published import load_curve
from recjax.codec import Prior, TrainConfig, decompress_batch, encode_batch, load_prior, train_prior
from recjax.codec.siren import prior as siren_prior
from recjax.codec.siren.efforts import EFFORTS as SIREN_EFFORTS
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.settings import EncodingConfig, SirenConfig
from recjax.codec.siren.training import write_trained
from recjax.codec.siren.training_state import initial_state
from recjax.modalities.image.pixels import psnr
from recjax.results.files import PSNR, RATE, Axis, Curve, Panel, Results
from recjax.results.rate_curves import psnr_at


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of the ablation.

    Attributes:
        reparameterise: whether weights are latents times a learned matrix.
        encodings: whether there are positional encodings.
        learned: whether the prior is.
        refined: whether the posteriors are, after every block.
        base: the setting that it is compared with.
        published: name of its published curve.
    """

    reparameterise: bool = True
    encodings: bool = True
    learned: bool = True
    refined: bool = True
    base: str = "RECOMBINER"
    published: str | None = None

    def network(self, learn_features: bool) -> SirenConfig:
        grid = EncodingConfig(depth=16, cells=(4, 4), factors=(4, 2), hidden=(8,), encodings=16)
        return SirenConfig(
            width=16,
            features=16 if self.encodings else 32,
            learn_features=learn_features,
            reparameterise=self.reparameterise,
            encoding=grid if self.encodings else EncodingConfig(),
        )


COMBINER = Setting(reparameterise=False, encodings=False, published="COMBINER")

SETTINGS = {
    "RECOMBINER": Setting(published="RECOMBINER"),
    "no encodings": Setting(encodings=False, published="RECOMBINER: no positional encodings"),
    "no reparameterisation": Setting(
        reparameterise=False, published="RECOMBINER: no linear reparameterisation"
    ),
    "no refinement": Setting(refined=False),
    "COMBINER": COMBINER,
    "COMBINER, no refinement": dataclasses.replace(
        COMBINER, refined=False, base="COMBINER", published="COMBINER: no fine-tuning"
    ),
    "COMBINER, no prior learning": dataclasses.replace(
        COMBINER, learned=False, base="COMBINER", published="COMBINER: no prior learning"
    ),
}


@dataclasses.dataclass(frozen=True)
class Args:
    """The ablation.

    Attributes:
        data: folder of train_4000.npz and test_150.npz.
        work: folder of checkpoints, priors and measured files.
        rate: KL in bits per pixel. The published curves have 1.48 to 3.64 in common; 1.61 are 103 blocks of 16 bits,
            and equal weights of a COMBINER, 11 a block, fill 102.
        rounds: of training, 50 gradient steps each.
        train: training images.
        batch: of a round.
        lr: learning rate of the posteriors; seldom visited ones need a lower one.
        learn_features: whether the input features are learned, as everywhere else in recjax; the papers' are fixed.
        effort: 1 to 9, for gradient steps.
        limit: test images.
        max_minutes: stop by then; the same command goes on.
        out: folder of the results.
    """

    data: Path
    work: Path
    rate: float = 1.61
    rounds: int = 400
    train: int = 1024
    batch: int = 128
    lr: float = 0.1
    learn_features: bool = True
    effort: int = 6
    limit: int = 64
    max_minutes: float = math.inf
    out: Path = Path("experiments/results")

    @property
    def name(self) -> str:
        """Of the results and the priors."""
        return "ablation" if self.learn_features else "ablation-fixed-features"


def unlearned(config: TrainConfig, out: Path) -> None:
    """Writes the prior before training; its latents share the rate evenly."""
    n = config.network.n_latents
    log_std = jnp.full((2, n), -config.rate * config.n_points * math.log(2) / n, jnp.float32)
    # two signals whose posteriors have the moments of the prior, so that their KL is -log_std nats
    mean = jnp.sqrt(1 - jnp.exp(2 * log_std)) * jnp.array([[1], [-1]], jnp.float32)
    state = initial_state(config, 2)
    (group,) = state.groups
    group = group._replace(posterior=Posterior(mean=mean, log_std=log_std))
    state = state._replace(groups=(group,))
    write_trained(config, state, out, modality="image", curve=[], metadata={}, force=True)


def in_blocks(path: Path, rate: float) -> Prior:
    """Rewrites a prior, with as many blocks as the rate (in bits per pixel) takes."""
    prior = load_prior(path)
    blocks = round(rate * prior.config.n_points / prior.budget)
    tries = [
        repartitioned(prior, share * prior.rate_bits / blocks)
        for share in np.linspace(0.95, 1.05, 101)
    ]
    best = min(tries, key=lambda own: abs(own.n_blocks - blocks))
    siren_prior.save(best, path, force=True)
    return load_prior(path)


def prior_of(setting: Setting, images: np.ndarray, args: Args, minutes: float) -> Prior | None:
    """The prior of a setting; None if training did not end in time."""
    config = TrainConfig(
        rate=args.rate,
        rounds=args.rounds,
        batch=args.batch,
        lr=args.lr,
        steering=0.001,
        network=setting.network(args.learn_features),
    )
    parts = (
        "lr" if setting.reparameterise else "",
        "pe" if setting.encodings else "",
        "" if setting.learned else "un",
    )
    out = args.work / f"{args.name}-{''.join(parts)}.safetensors"
    if not setting.learned:
        unlearned(config, out)
    elif not train_prior(
        config,
        images,
        out,
        checkpoint_dir=out.with_suffix(".checkpoints"),
        max_minutes=minutes,
        force=True,
    ):
        return None
    return in_blocks(out, args.rate)


def measure(signals: list[recjax.Signal], prior: Prior, setting: Setting, effort: int) -> dict:
    """Rates of the files, and the PSNR of every image."""
    own = SIREN_EFFORTS[effort]
    own = own if setting.refined else dataclasses.replace(own, refine_steps=0)
    results = encode_batch(signals, prior, effort=own)
    decoded = decompress_batch([result.blob for result in results], priors=(prior,))
    return {
        "file_bpp": sum(8 * len(r.blob) for r in results) / n_pixels(signals),
        "index_bpp": sum(r.index_bits for r in results) / n_pixels(signals),
        "psnr": [psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)],
    }


def measured(signals: list[recjax.Signal], prior: Prior, setting: Setting, args: Args) -> dict:
    """`measure`, unless it is done already."""
    path = args.work / "measured.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    key = (
        f"{prior.digest.hex()} effort {args.effort} refined {setting.refined} images {len(signals)}"
    )
    if key not in known:
        known[key] = measure(signals, prior, setting, args.effort)
        path.write_text(json.dumps(known))
    return known[key]


def summary(name: str, results: dict[str, dict], rate: float) -> dict:
    """A row of the table: what was measured, and the difference to the base, ours (paired) and published."""
    setting, own = SETTINGS[name], results[name]
    row = {"setting": name, **own, "psnr": mean_and_error(own["psnr"]), "base": setting.base}
    base = results[setting.base]["psnr"]
    row["difference"] = mean_and_error([a - b for a, b in zip(own["psnr"], base, strict=True)])
    there = [
        curve and psnr_at(load_curve("cifar10", curve), rate)
        for curve in (setting.published, SETTINGS[setting.base].published)
    ]
    row["published_difference"] = there[0] - there[1] if all(there) else None
    return row


def line(row: dict) -> str:
    published = row["published_difference"]
    return "{setting:<29}{index_bpp:>7.3f}{file_bpp:>7.3f}".format(**row) + (
        f"{row['psnr']['mean']:>8.2f} +- {row['psnr']['standard_error']:.2f}"
        f"{row['difference']['mean']:>+8.2f} +- {row['difference']['standard_error']:.2f}"
        f"{'n/a' if published is None else f'{published:+.2f}':>11}  {row['base']}"
    )


def to_results(rows: list[dict], name: str, description: str) -> Results:
    """The rows of the table as a results file."""
    ours, published, differences = [], [], []
    for row in rows:
        setting, there = row["setting"], SETTINGS[row["setting"]].published
        ours.append(_point(setting, row["index_bpp"], row["psnr"]))
        if there:
            published.append(load_curve("cifar10", there))
        if setting != row["base"] and row["published_difference"] is not None:
            differences.append(
                _point(
                    f"{setting}, to {row['base']}", row["published_difference"], row["difference"]
                )
            )
    ends = tuple(sorted(bound(curve.x[0] for curve in differences) for bound in (min, max)))
    equal = Curve("as published", ends, ends, kind="theory")
    axes = Axis("published difference (dB)"), Axis("difference here (dB)")
    panels = (
        Panel("CIFAR-10: ablation", RATE, PSNR, (*ours, *published)),
        Panel("CIFAR-10: what a part is worth", *axes, (*differences, equal)),
    )
    return Results(name, description, "python -m experiments.ablation", panels, {"settings": rows})


def _point(name: str, x: float, y: dict[str, float]) -> Curve:
    return Curve.with_errors(name, [x], [y["mean"]], [y["standard_error"]])


def main(args: Args) -> list[dict] | None:
    begun = time.monotonic()
    args.work.mkdir(parents=True, exist_ok=True)
    training = np.load(args.data / "train_4000.npz")["images"][: args.train]
    images = np.load(args.data / "test_150.npz")["images"][: args.limit]
    signals = [recjax.Signal(image, "image", {"gray": False}) for image in images]
    results = {}
    for name, setting in SETTINGS.items():
        minutes = args.max_minutes - (time.monotonic() - begun) / 60
        prior = prior_of(setting, training, args, minutes) if minutes > 0 else None
        if prior is None:
            print(f"stopped at {name!r}: the same command goes on from here")
            return None
        trained = {"trained_bpp": prior.metadata["training"]["kl_bits"] / prior.config.n_points}
        results[name] = measured(signals, prior, setting, args) | trained
        print(f"{name}: {np.mean(results[name]['psnr']):.2f} dB", flush=True)
    rows = [summary(name, results, args.rate) for name in SETTINGS]
    print(f"{'':<29}{'index':>7}{'file':>7}{'PSNR, dB':>16}{'difference':>16}{'published':>11}  to")
    print("\n".join(map(line, rows)))
    description = (
        f"{len(signals)} CIFAR-10 test images, effort {args.effort}, {args.train} training images, "
        f"{args.rounds} rounds of {args.batch} at a learning rate of {args.lr}, "
        f"{'learned' if args.learn_features else 'fixed'} input features; "
        f"published differences at {args.rate} bits per pixel"
    )
    save(to_results(rows, args.name, description), args.out)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Args))
