"""Results files."""

import json

import pytest

from recjax.results.files import PSNR, RATE, Axis, Curve, Panel, Results, load_results, save_results


@pytest.fixture
def results():
    errors = Curve.with_errors("ours", [1.0, 2.0], [30.0, 33.0], [0.1, 0.2])
    published = Curve("theirs", (1.0,), (29.0,), kind="published", source="a paper", joined=False)
    panels = (
        Panel("rate and quality", RATE, PSNR, (errors, published)),
        Panel("", Axis("a"), Axis("b", "log2"), ()),
    )
    return Results("test", "what was done", "how", panels, {"images": [{"name": "a", "bytes": 3}]})


def test_results_are_read_as_they_were_written(results, tmp_path):
    save_results(results, tmp_path / "a.json")
    assert load_results(tmp_path / "a.json") == results


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("source"), "it has no 'source'"),
        (lambda held: held["results"].pop("panels"), "it has no 'panels'"),
        (lambda held: held["results"]["panels"][0]["x"].update(scale="cubic"), "scale"),
        (lambda held: held["results"]["panels"][0]["curves"][0]["y"].pop(), "another number of y"),
        (
            lambda held: held["results"]["panels"][0]["curves"][0]["low"].pop(),
            "another number of y",
        ),
        (
            lambda held: held["results"]["panels"][0]["curves"][0]["x"].__setitem__(
                0, float("nan")
            ),
            "not finite",
        ),
        (
            lambda held: held["results"]["panels"][0]["curves"][0]["y"].__setitem__(
                -1, float("inf")
            ),
            "not finite",
        ),
        (lambda held: held["results"]["panels"][0]["curves"][0].update(kind="guessed"), "kind"),
        (lambda held: held["results"]["panels"][0]["curves"][0].update(joined=1), "joined"),
        (lambda held: held["results"].update(panels=3), "no results file"),
        (lambda held: held.update(results=3), "no results file"),
    ],
)
def test_what_is_no_results_file_is_refused(results, tmp_path, change, message):
    path = tmp_path / "a.json"
    save_results(results, path)
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))
    with pytest.raises(ValueError, match=message):
        load_results(path)


@pytest.mark.parametrize(
    "data,reason",
    [(b"", ""), (b"{", ""), (b"\x89PNG", "it is no text"), (b"[1]", ""), (b"[" * 100000, "")],
)
def test_other_files_are_refused(tmp_path, data, reason):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=f"no results file: {reason}"):
        load_results(tmp_path / "a.json")


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(ValueError):
        save_results(
            Results("a", "", "", (Panel("", RATE, PSNR, (Curve("x", (1.0,), (float("inf"),)),)),)),
            tmp_path / "a",
        )
    assert not list(tmp_path.iterdir())
