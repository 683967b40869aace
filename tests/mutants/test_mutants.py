"""The planted bugs fit the code, and the runner tells what became of them."""

from pathlib import Path

import pytest

from tests.mutants import runner
from tests.mutants.bugs import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PACKAGES = {path.name for path in (ROOT / "recjax").iterdir() if (path / "__init__.py").is_file()}


def test_every_mutant_fits_the_code():
    assert not runner.faults(ROOT, MUTANTS)


def test_every_package_has_some():
    assert len(MUTANTS) >= 60
    assert {mutant.file.split("/")[1] for mutant in MUTANTS} >= PACKAGES


@pytest.fixture
def tree(tmp_path):
    """A repository of one function and its test."""
    (tmp_path / "code.py").write_text(
        "def double(x):\n    return 2 * x\n\n\ndef f():\n    return 1\n"
    )
    test = "import code_under_test\n"
    (tmp_path / "code_under_test.py").write_text((tmp_path / "code.py").read_text())
    (tmp_path / "test_code.py").write_text(
        test + "\n\ndef test_double():\n    assert code_under_test.double(3) == 6\n"
    )
    return tmp_path


MUTANT = Mutant("sum", "code_under_test.py", "2 * x", "2 + x", "test_code.py")
HARMLESS = MUTANT._replace(name="harmless", old="return 1", new="return 2")
BROKEN = MUTANT._replace(name="broken", new="2 *")


def test_caught_survived_and_broken(tree, tmp_path_factory):
    results = tmp_path_factory.mktemp("results") / "out.jsonl"
    todo = runner.tasks((MUTANT, HARMLESS, BROKEN), whole=False)
    outcomes = runner.run_all(tree, todo, results, workers=1)
    assert [(o.name, o.outcome) for o in outcomes] == [
        ("unchanged", "passed"),
        ("sum", "caught"),
        ("harmless", "survived"),
        ("broken", "broken (2)"),
    ]
    assert [o.good for o in outcomes] == [True, True, False, False]
    # a second run finds all but the broken one; what concerns a file that has changed is tried again
    assert runner.run_all(tree, todo[:3], results, workers=1) == outcomes[:3]
    assert len(results.read_text().splitlines()) == 4
    assert len(runner.known(results)) == 3
    assert (tree / "code_under_test.py").read_text() == (tree / "code.py").read_text()
    (tree / "test_code.py").write_text((tree / "test_code.py").read_text() + "\n# changed\n")
    runner.run_all(tree, todo[:1], results, workers=1)
    assert len(results.read_text().splitlines()) == 5


def test_what_does_not_fit_is_named(tree):
    wrong = [
        MUTANT._replace(name="gone", old="3 * x"),
        MUTANT._replace(name="twice", old="return"),
        MUTANT._replace(name="untested", test="test_other.py"),
        MUTANT._replace(name="same", new="2 * x"),
    ]
    assert [line.split(":")[0] for line in runner.faults(tree, wrong)] == [
        mutant.name for mutant in wrong
    ]
    assert runner.faults(tree, [MUTANT, MUTANT]) == ["sum: two mutants"]
