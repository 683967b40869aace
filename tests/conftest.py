"""Shared settings: strict promotion, and one compilation cache for all test processes."""

import os
import signal
import tempfile
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

# Read by jax when it is first imported, here and in the command-line tests' subprocesses.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(Path(tempfile.gettempdir()) / f"recjax-test-cache-{os.getuid()}"),
)

import jax

# Parts of the package whose annotations of shapes and types are checked at every call, under jit
# at every trace. The hook acts on modules that are imported after it.
CHECKED = ("bits", "blocks", "distributions", "limits", "randomness", "results", "words")
jaxtyping.install_import_hook([f"recjax.{part}" for part in CHECKED], "annotations.check")

# a shell's background jobs ignore Ctrl-C, and so would the processes that the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# derandomised: a failure today is a failure tomorrow
settings.register_profile("recjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("recjax")


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
    """The shared image data: the folder RECJAX_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("RECJAX_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder} (set RECJAX_DATA)")
    return folder
