"""``recjax priors``."""

import json as json_module
import math
from importlib import resources
from typing import Any

from recjax.commands.shared import table


def priors(*, json: bool = False) -> None:
    """List the priors that come with recjax: kind, rate, quality, training data, licence, command.

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
        print(
            "\n".join([name, *table({key: _short(value) for key, value in entries.items()}, "  ")])
        )
    card = resources.files("recjax") / "priors" / "README.md"
    print(f"model card: {card}")


def _short(value: Any) -> Any:
    """Tables in one line, without the course of the training, which ``--json`` has whole."""
    if not isinstance(value, dict):
        return value
    return ", ".join(
        f"{key} {entry:.6g}" if isinstance(entry, float) else f"{key} {entry}"
        for key, entry in value.items()
        if not isinstance(entry, list | dict)
    )


def _reached(training: dict[str, Any]) -> dict[str, float]:
    """Bits of KL per pixel and PSNR in the last steps of training, on the training images."""
    last, config = training["curve"][-1], training["config"]
    if "kl_bits" in last:  # of a signal of an implicit neural representation
        pixels = math.prod([*config.get("scene", ()), *config["network"]["grid"]])
        return {"kl_bpp": last["kl_bits"] / pixels, "psnr": last["psnr"]}
    which = config["prices"].index(training["price"])
    if last["bpp"][which] is None:  # fewer steps than prices since the last look
        return {}
    return {"kl_bpp": last["bpp"][which], "psnr": last["psnr"][which]}
