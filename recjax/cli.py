"""The command line: ``recjax VERB ...``, one module of `recjax.commands` a verb."""

import _thread
import contextlib
import functools
import importlib
import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from recjax import __version__

VERBS = {
    "compress": "an image to a .rec file",
    "decompress": "a .rec file to an image",
    "info": "what a .rec file holds, bit by bit",
    "priors": "the priors that come with recjax",
    "train-prior": "learn a prior from images",
    "train-transform": "learn a transform prior for several rates from images",
    "eval": "rate and PSNR of a folder of images, beside JPEG and WebP",
    "bench": "speed of the coders beside NumPy",
    "plot": "pictures of results files over each other, and BD-rates",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        argv: the arguments, by default those of the process.

    Returns:
        The exit code: 0, 1 for bad input, 2 for bad usage, 130 after Ctrl-C. Errors are one line on stderr.

    >>> main(["--version"])
    recjax 0.1.0
    0
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    process_arguments, sys.argv = sys.argv, ["recjax", *argv]  # what train-prior records
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_usage())
            return 0
        if argv[0] == "--version":
            print(f"recjax {__version__}")
            return 0
        if argv[0] not in VERBS:
            return _fail(f"there is no verb {argv[0]!r}; recjax --help lists them", 2)
        cache_compilations()
        command = _parse(argv[0], argv[1:])
        if isinstance(command, int):
            return command
        with _interruptible():
            command()
        sys.stdout.flush()
        return 0
    except ValueError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # the reader of our output, head for example, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'input/output'}: {error.strerror or error}", 1)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", 130)
    finally:
        sys.argv = process_arguments


def _usage() -> str:
    verbs = "\n".join(f"  {verb:<16} {summary}" for verb, summary in VERBS.items())
    return f"usage: recjax VERB ...\n\n{verbs}\n\nrecjax VERB --help says more, recjax --version which release this is."


def _parse(verb: str, argv: list[str]) -> Callable[[], None] | int:
    """The verb's function with its arguments, or an exit code if there is nothing to run."""
    import tyro

    style = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
    name = verb.replace("-", "_")
    run = getattr(importlib.import_module(f"recjax.commands.{name}"), name)

    @functools.wraps(run)
    def deferred(*args, **kwargs):
        return functools.partial(run, *args, **kwargs)

    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            return tyro.cli(deferred, prog=f"recjax {verb}", args=argv, config=style)
    except SystemExit as end:
        if not end.code:
            return 0
        return _fail(f"{_reason(messages.getvalue())}; recjax {verb} --help says more", 2)


def _reason(box: str) -> str:
    """What is wrong, out of the box that tyro draws: a title, the reason and, behind a rule, help."""
    text = "\n".join(line.strip("│ ") for line in box.splitlines()[1:])
    reason = next(filter(str.strip, re.split(r"^[-─]{3}.*$", text, flags=re.MULTILINE)), text)
    reason = " ".join(reason.replace("(required)", "").split())
    return re.sub(r"^Error parsing [a-z.]+: ", "", reason).rstrip(".")


def cache_compilations() -> None:
    """Lets later runs skip compilation, unless the environment says otherwise; read when jax is imported."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with contextlib.suppress(OSError):  # without a writable home we only lose time
        folder = base / "recjax" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raises Ctrl-C again where Python can only report it, as in JAX's callback of the garbage collector."""

    def report(unraisable):
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # a moment later: here it would be lost once more
            threading.Timer(0.02, _thread.interrupt_main).start()
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, report
    try:
        yield
    finally:
        sys.unraisablehook = before


def _fail(message: str, code: int) -> int:
    print(f"recjax: {' '.join(message.split())}", file=sys.stderr)
    return code


def run() -> NoReturn:
    """The command: `main`, then the end of the process."""
    code = main()
    if code == 130:  # XLA may still be compiling, and would crash when Python takes itself down
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
