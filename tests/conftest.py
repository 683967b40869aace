"""Shared settings: strict promotion, and one compilation cache for all test processes."""

import os
import signal
import tempfile
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

# Read by jax when it is first imported, here and in the command-line tests' subprocesses. An empty folder in
# RECJAX_TEST_CACHE shows what the tests take with nothing compiled.
if os.environ.get("RECJAX_TEST_CACHE"):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["RECJAX_TEST_CACHE"]
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(Path(tempfile.gettempdir()) / f"recjax-test-cache-{os.getuid()}"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax

# Parts of the package whose annotations of shapes and types are checked at every call, under jit
# at every trace. The hook acts on modules that are imported after it.
CHECKED = ["bits", "blocks", "distributions", "limits", "randomness", "results", "words"]
# Not their `__init__`, whose functions name types that they import only when they are called.
CODEC = Path(__file__).parents[1] / "recjax" / "codec"
CHECKED += [
    f"codec.{wing}.{path.stem}"
    for wing in ("siren", "training", "transform")
    for path in sorted((CODEC / wing).glob("[a-z]*.py"))
]
jaxtyping.install_import_hook([f"recjax.{part}" for part in CHECKED], "annotations.check")

# a shell's background jobs ignore Ctrl-C, and so would the processes that the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# derandomised: a failure today is a failure tomorrow
settings.register_profile("recjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("recjax")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Examples in the docstrings of coders compile a search each, those of other modules little."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and {"samplers", "testing.py"} & {*item.path.parts}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def strict_promotion(request):
    """No silent change of dtype or rank; ``pytestmark = pytest.mark.standard_promotion`` where optax needs it."""
    if request.node.get_closest_marker("standard_promotion"):
        yield
        return
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def annotations_checked(request):
    """`@pytest.mark.wrong_types` for tests of what annotations forbid and the package refuses."""
    wrong = request.node.get_closest_marker("wrong_types") is not None
    jaxtyping.config.update("jaxtyping_disable", wrong)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Compiled programs take about 10 MB each: what a file compiled goes with it."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The image data of the tests: the folder RECJAX_DATA."""
    folder = os.environ.get("RECJAX_DATA")
    if not folder:
        pytest.skip("RECJAX_DATA names no folder of image data")
    if not Path(folder).is_dir():
        pytest.skip(f"RECJAX_DATA: there is no folder {folder}")
    return Path(folder)
