"""``recjax priors``."""

import json as json_module
import math
from importlib import resources
from typing import Any


def priors(*, json: bool = False) -> None:
    """List the priors that come with recjax: kind, rate, quality, training data, licence, how each was made.

    Args:
        json: print JSON.
    """
    from recjax.codec import embedded_priors, load_prior

    loaded = {name: load_prior(name) for name in embedded_priors()}
    facts = {
        name: {
            "digest": prior.digest.hex(),
            "modality": prior.modality,
            "patch": [*prior.patch, prior.channels],
            **prior.summary,
            "reached": _reached(prior.metadata["training"]),
            **prior.metadata,
        }
        for name, prior in loaded.items()
    }
    if json:
        print(json_module.dumps(facts, indent=2, default=str))
        return
    for name, entries in facts.items():
        print(name)
        for key, value in entries.items():
            if isinstance(value, dict):  # the course of the training; --json has it whole
                value = ", ".join(
                    f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}"
                    for k, v in value.items()
                    if not isinstance(v, list | dict)
                )
            print(f"  {key:<16} {value}")
    card = resources.files("recjax") / "priors" / "README.md"
    print(f"model card: {card}")


def _reached(training: dict[str, Any]) -> dict[str, float]:
    """Bits of KL a pixel and PSNR in the last steps of training, on pieces of the training images."""
    last, config = training["curve"][-1], training["config"]
    if "kl_bits" in last:  # of a signal of an implicit neural representation
        pixels = math.prod([*config.get("scene", ()), *config["network"]["grid"]])
        return {"kl_bpp": last["kl_bits"] / pixels, "psnr": last["psnr"]}
    which = config["prices"].index(training["price"])
    if last["bpp"][which] is None:  # fewer steps than prices since the last look
        return {}
    return {"kl_bpp": last["bpp"][which], "psnr": last["psnr"][which]}
