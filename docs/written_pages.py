"""Parts of pages that are written from data: result tables, the prior zoo, the tree, the figures."""

import ast
import shlex
from pathlib import Path
from typing import Any

import recjax
from experiments import tables
from recjax.codec import Prior, embedded_priors
from recjax.commands.priors import current_command

PACKAGE = Path(recjax.__file__).parent


def write(folder: Path) -> None:
    """Writes all of them into a folder, made if there is none."""
    tables.main(folder)
    (folder / "priors.md").write_text(prior_zoo())
    (folder / "tree.md").write_text(package_tree())
    (folder / "figures.md").write_text(figures())


def prior_zoo() -> str:
    """A table of the embedded priors, and what the file of each says of itself."""
    files = embedded_priors()
    priors = {name: recjax.load_prior(name) for name in files}
    kodak = {row["digest"]: row for row in tables.details("kodak")["recjax"]}
    rows = []
    for name, prior in priors.items():
        measured = kodak.get(prior.digest.hex()[:12])
        rows.append(
            [
                f"[`{name}`](#{name})",
                _kind(prior),
                f"{files[name].stat().st_size / 1e6:.1f} MB",
                f"{measured['bpp']:.3f}" if measured else "",
                f"{measured['psnr']:.2f}" if measured else "",
            ]
        )
    head = ["name", "kind", "file", "Kodak: bpp", "PSNR (dB)"]
    sections = [f"## {name}\n\n{_card(prior)}" for name, prior in priors.items()]
    return "\n\n".join([tables.table(head, rows), *sections]) + "\n"


def _kind(prior: Prior) -> str:
    return str(prior.summary.get("kind", type(prior).__name__))


def _card(prior: Prior) -> str:
    about: dict[str, Any] = prior.metadata
    entries = {
        "Digest": f"`{prior.digest.hex()}`",
        "Modality": prior.modality,
        "Bits of a block": str(prior.budget),
        "Price of a nat": f"{prior.beta:.3g} (mean squared error of values in [0, 1])",
        "Training data": about.get("data", "not stated"),
        "Licence of the data": about.get("licence", "not stated"),
    }
    lines = "\n".join(f"- **{name}**: {text}" for name, text in entries.items())
    recipe = _folded(current_command(about.get("command", "not stated")))
    return f"{lines}\n- **Recipe**:\n\n```text\n{recipe}\n```"


def _folded(command: str) -> str:
    """A command, one option a line."""
    text = ""
    for word in map(shlex.quote, shlex.split(command)):
        text += (" \\\n    " if word.startswith("--") else " " if text else "") + word
    return text


def package_tree() -> str:
    """The folders and modules of the package, each with the first line of its docstring."""
    lines = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts == ("__init__.py",):
            continue
        is_folder = path.name == "__init__.py"
        name = f"{place.parent.name}/" if is_folder else path.stem
        indent = "  " * (len(place.parts) - 1 - is_folder)
        lines.append(f"{indent}- `{name}` {_summary(path)}")
    return "\n".join(lines) + "\n"


def _summary(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.partition("\n")[0].replace("``", "`")


def figures() -> str:
    """Every picture of ``experiments/results/figures`` with what its results file says of it."""
    parts = []
    for path in sorted((tables.RESULTS / "figures").glob("*.png")):
        title = path.stem.replace("_", " ").capitalize()
        picture = f"![{title}](../experiments/results/figures/{path.name})"
        parts.append(f"## {title}\n\n{tables.description(f'figures/{path.stem}')}\n\n{picture}")
    return "\n\n".join(parts) + "\n"
