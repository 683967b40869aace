"""``recjax priors``."""

import json as json_module
import math
import textwrap
from importlib import resources
from typing import Any

from tyro.conf import Positional

from recjax.commands.shared import EARLIER_VERBS, table


def priors(name: Positional[str | None] = None, *, json: bool = False) -> None:
    """List the priors that come with recjax: kind, rate, quality and licence; of one, everything.

    Args:
        name: the prior to be shown with its training data and command.
        json: print JSON, with everything of each prior that is shown.
    """
    from recjax.codec import embedded_priors, load_prior

    names = list(embedded_priors())
    if name is not None and name not in names:
        raise ValueError(f"there is no prior {name} in recjax: it has {', '.join(names)}")
    loaded = {each: load_prior(each) for each in (names if name is None else [name])}
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
    if name is not None:
        shown = {key: _short(value) for key, value in facts[name].items()}
        if "command" in shown:
            shown["command"] = current_command(shown["command"])
        print("\n".join(table(shown)))
        return
    print(f"{'name':<18}{'kind':<11}{'bpp':>6}{'dB':>7}  licence of the training data")
    for each, entries in facts.items():
        print(_line(each, entries))
    card = resources.files("recjax") / "priors" / "README.md"
    print("bpp (KL) and dB (PSNR): at the end of training, on the training images")
    print("recjax priors NAME shows everything of one")
    print(f"model card: {card}")


def current_command(command: str) -> str:
    """A command that a prior file cites, with today's name of the verb."""
    for earlier, verb in EARLIER_VERBS.items():
        command = command.replace(f"recjax {earlier} ", f"recjax {verb} ", 1)
    return command


def _line(name: str, facts: dict[str, Any]) -> str:
    reached = [
        f"{facts['reached'][key]:.{digits}f}" if key in facts["reached"] else "-"
        for key, digits in (("kl_bpp", 3), ("psnr", 2))
    ]
    licence = textwrap.shorten(facts.get("licence", "not stated"), 70, placeholder=" ...")
    return f"{name:<18}{facts['kind']:<11}{reached[0]:>6}{reached[1]:>7}  {licence}"


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
    if "prices" not in config:  # one network for all rates
        return {}
    which = config["prices"].index(training["price"])
    if last["bpp"][which] is None:  # fewer steps than prices since the last look
        return {}
    return {"kl_bpp": last["bpp"][which], "psnr": last["psnr"][which]}
