"""The command line: ``recjax VERB ...``, one module of `recjax.commands` a verb."""

import _thread
import contextlib
import difflib
import functools
import importlib
import inspect
import io
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, NoReturn, get_args, get_type_hints

from recjax import __version__
from recjax.cache import set_environment
from recjax.commands.shared import EARLIER_VERBS, UsageError
from recjax.errors import TargetWarning

VERBS = {
    "compress": "a file, a folder or - to .rec files",
    "decompress": ".rec files to what they were made from",
    "info": "what .rec files hold, bit by bit",
    "priors": "the priors that come with recjax",
    "train siren": "learn a prior of implicit neural representations",
    "train transform": "learn transform priors for several rates",
    "train staged": "learn a prior of sound for all rates",
    "eval": "rate and quality of a folder of files, beside other codecs",
    "bench": "speed of the coders beside NumPy",
    "plot": "pictures of results files over each other, and BD-rates",
}
_NUMBERS = {int: "a whole number", float: "a number"}
"""Types of options, as messages name them."""

_CACHE_TROUBLE = ("Error reading persistent compil", "Error writing persistent compil")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        argv: the arguments, by default those of the process.

    Returns:
        The exit code: 0, 1 for bad input, 2 for bad usage, 130 after Ctrl-C. Errors are one line
        on stderr.

    >>> main(["--version"])
    recjax 0.1.0
    0
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    process_arguments, sys.argv = sys.argv, ["recjax", *argv]  # what training records
    try:
        if argv[:1] == ["help"]:  # recjax help compress is recjax compress --help
            argv = [*argv[1:], "--help"]
        if not argv or argv[0] in ("-h", "--help"):
            print(_usage())
            return 0
        if argv[0] == "--version":
            print(f"recjax {__version__}")
            return 0
        verb, rest = _verb(argv)
        if longer := [name for name in VERBS if name.startswith(f"{verb} ")]:
            return _fail(f"say which: recjax {' or recjax '.join(longer)}", 2)
        if verb not in VERBS:
            hint = _did_you_mean([verb], VERBS)
            return _fail(f"there is no verb {verb!r}{hint}; recjax --help lists them", 2)
        set_environment()
        command = _parse(verb, rest)
        if isinstance(command, int):
            return command
        with _interruptible(), _short_warnings():
            command()
        sys.stdout.flush()
        return 0
    except UsageError as error:
        return _fail(str(error), 2)
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


def _verb(argv: list[str]) -> tuple[str, list[str]]:
    """The verb, of one word or two, and its arguments."""
    if " ".join(argv[:2]) in VERBS:
        return " ".join(argv[:2]), argv[2:]
    return EARLIER_VERBS.get(argv[0], argv[0]), argv[1:]


def _usage() -> str:
    verbs = "\n".join(f"  {verb:<16} {summary}" for verb, summary in VERBS.items())
    more = "recjax VERB --help says more, recjax --version which release this is."
    return f"usage: recjax VERB ...\n\n{verbs}\n\n{more}"


def _parse(verb: str, argv: list[str]) -> Callable[[], None] | int:
    """The verb's function with its arguments, or an exit code if there is nothing to run."""
    import tyro

    style = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
    name = verb.replace(" ", "_")
    run = getattr(importlib.import_module(f"recjax.commands.{name}"), name)

    @functools.wraps(run)
    def deferred(*args, **kwargs):
        return functools.partial(run, *args, **kwargs)

    hints = get_type_hints(run, include_extras=True)
    deferred.__annotations__ = {name: _without_none(kind) for name, kind in hints.items()}
    # tyro would follow __wrapped__ to the annotations of the function itself
    del vars(deferred)["__wrapped__"]
    vars(deferred)["__signature__"] = inspect.signature(run)
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_number_rule)
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages), registry:
            return tyro.cli(deferred, prog=f"recjax {verb}", args=argv, config=style)
    except SystemExit as end:
        if not end.code:
            return 0
        reason = _reason(messages.getvalue(), _options(verb))
        return _fail(f"{reason}; recjax {verb} --help says more", 2)


def _options(verb: str) -> list[str]:
    """The options that the help of a verb names."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        _parse(verb, ["--help"])
    return re.findall(r"--[a-z][a-z-]*", text.getvalue())


def _number_rule(info: Any) -> Any:
    """How tyro reads an option that is a number: a refusal says what it must be, and what it is."""
    import tyro

    kind = next((kind for kind in _NUMBERS if info.type in (kind, kind | None)), None)
    if kind is None:
        return None

    def read(words: list[str]) -> int | float:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"must be {_NUMBERS[kind]}, got {words[0]}") from None

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, kind | int | None),
        str_from_instance=lambda value: [str(value)],
    )


def _without_none(annotation: Any) -> Any:
    """The annotation of an option; its help does not mention None, which nobody types."""
    import tyro

    kinds = get_args(annotation)
    if type(None) not in kinds:
        return annotation
    (kind,) = (kind for kind in kinds if kind is not type(None))
    return Annotated[
        annotation, tyro.conf.arg(metavar=kind.__name__.upper(), help_behavior_hint="")
    ]


def _reason(box: str, options: Iterable[str]) -> str:
    """The reason in the box that tyro draws: a title, the reason and, behind a rule, help.

    Args:
        box: the box.
        options: those that the verb has, for what was meant by one that it has not.
    """
    text = "\n".join(line.strip("│ ") for line in box.splitlines()[1:])
    reason = next(filter(str.strip, re.split(r"^[-─]{3}.*$", text, flags=re.MULTILINE)), text)
    reason = " ".join(reason.replace("(required)", "").split())
    title = "Unrecognized options: "
    if reason.startswith(title):
        words = reason.removeprefix(title).split(", ")
        unknown = [word for word in words if word.startswith("-")]
        if not unknown:
            return f"Too many arguments: {', '.join(words)}"
        # the others may be the values of what is not known
        return f"{title}{', '.join(unknown)}{_did_you_mean(unknown, options)}"
    no_list = r"Could not find valid parse for arguments:|no type matching .* instantiated from"
    if refused := re.match(rf"Error parsing (--\S+): (?:{no_list}) \[(.*?)\]", reason):
        return f"{refused[1]} cannot be {refused[2].replace(chr(39), '')}"
    reason = re.sub(r"^Error parsing (--\S+): (?=must be)", r"\1 ", reason)
    return re.sub(r"^Error parsing [a-z.]+: ", "", reason).rstrip(".")


def _did_you_mean(words: Iterable[str], known: Iterable[str]) -> str:
    """A question after words that are not known; nothing if no known one is like them."""
    near = [
        match
        for word in words
        for match in difflib.get_close_matches(word.partition("=")[0], known, n=1, cutoff=0.75)
    ]
    return f" (did you mean {' '.join(near)}?)" if near else ""


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Shows warnings that users can do something about as one line on stderr."""

    def show(message, category, *where, **rest):
        if issubclass(category, TargetWarning):
            _fail(str(message), 0)
        elif not str(message).startswith(_CACHE_TROUBLE):
            before(message, category, *where, **rest)
        elif trouble.setdefault("first", message) is message:  # JAX says it of every program
            folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
            _fail(f"the cache {folder} is full or damaged: programs are compiled anew", 0)

    trouble: dict[str, Any] = {}
    with warnings.catch_warnings():
        before, warnings.showwarning = warnings.showwarning, show
        warnings.simplefilter("always", TargetWarning)
        yield


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raises Ctrl-C again where Python can only report it, as in callbacks of the collector."""

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
