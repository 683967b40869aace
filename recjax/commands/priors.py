"""``recjax priors``."""

import json as json_module


def priors(*, json: bool = False) -> None:
    """List the priors that come with recjax: rate, quality, training data, licence, how each was made.

    Args:
        json: print JSON.
    """
    from recjax.codec import embedded_priors, load_prior

    loaded = {name: load_prior(name) for name in embedded_priors()}
    facts = {
        name: {
            "digest": prior.digest.hex(),
            "modality": prior.modality,
            "patch": list(prior.patch_shape),
            **prior.summary,
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
