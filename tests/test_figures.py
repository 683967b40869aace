"""The runner of figures, with a figure of its own: what it writes, and that it goes on where it was."""

import csv
import sys
import types

import pytest

from experiments.figures import runner as figures
from experiments.figures.points import Points
from recjax.results.files import Axis, Curve, Panel, Results, load_results

pytest.importorskip("matplotlib")


class Interruption(Exception):
    pass


@pytest.fixture
def squares(monkeypatch, tmp_path):
    """A figure of four points; ``computed`` is what it computed, ``fails`` where it stops."""
    module = types.ModuleType("experiments.figures.squares")
    module.__file__ = str(tmp_path / "squares.py")
    (tmp_path / "squares.py").write_text("one version")
    module.computed, module.fails = [], None

    def value(x):
        if x == module.fails:
            raise Interruption
        module.computed.append(x)
        return x * x

    def figure(full, point):
        x = tuple(map(float, range(1, 9 if full else 5)))
        y = tuple(point(f"x {each}", lambda each=each: value(each)) for each in x)
        curves = (
            Curve.with_errors("squares", x, y, [0.5] * len(x)),
            Curve("line", (1.0, 4.0), (1.0, 16.0), kind="theory"),
        )
        return Results(
            "squares",
            "squares, full" if full else "squares",
            "a test",
            (Panel("", Axis("x"), Axis("y"), curves),),
        )

    module.figure = figure
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(figures, "figure_names", lambda: ["squares"])
    return module


def test_numbers_and_pictures_are_written(squares, tmp_path, capsys):
    figures.main(figures.Args(out=tmp_path / "out"))
    assert capsys.readouterr().out.startswith("squares: ")
    (panel,) = load_results(tmp_path / "out" / "squares.json").panels
    assert panel.curves[0].y == (1, 4, 9, 16)
    with (tmp_path / "out" / "squares.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    expected = ["y against x", "squares", "measured", "2.0", "4.0", "3.5", "4.5"]
    assert list(rows[1].values()) == expected and list(rows[-1].values())[2:] == [
        "theory",
        "4.0",
        "16.0",
        "",
        "",
    ]
    assert (tmp_path / "out" / "squares.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "squares.pdf").read_bytes().startswith(b"%PDF")


def test_an_interrupted_run_goes_on_where_it_was(squares, tmp_path):
    args = figures.Args(names=("squares",), out=tmp_path / "out")
    squares.fails = 3
    with pytest.raises(Interruption):
        figures.main(args)
    assert squares.computed == [1, 2] and not (tmp_path / "out" / "squares.json").exists()
    squares.fails = None
    figures.main(args)
    assert squares.computed == [1, 2, 3, 4]
    figures.main(args)
    assert squares.computed == [1, 2, 3, 4]
    assert load_results(tmp_path / "out" / "squares.json").panels[0].curves[0].y == (1, 4, 9, 16)


def test_other_code_and_another_scale_start_anew(squares, tmp_path):
    figures.main(figures.Args(out=tmp_path / "out"))
    figures.main(figures.Args(out=tmp_path / "out", full=True))
    assert squares.computed == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8]
    (tmp_path / "squares.py").write_text("another version")
    figures.main(figures.Args(out=tmp_path / "out"))
    assert squares.computed[12:] == [1, 2, 3, 4]


def test_unknown_names_are_refused_before_anything_runs(squares, tmp_path):
    with pytest.raises(ValueError, match="no figure cubes; there are squares"):
        figures.main(figures.Args(names=("squares", "cubes"), out=tmp_path / "out"))
    assert not squares.computed and not (tmp_path / "out").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"3", b"\xff", b"[" * 100000])
def test_damaged_parts_are_named(squares, tmp_path, data):
    figures.main(figures.Args(out=tmp_path / "out"))
    (kept,) = (tmp_path / "out" / ".parts").iterdir()
    kept.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{kept.name} is damaged: remove it"):
        figures.main(figures.Args(out=tmp_path / "out"))


def test_a_value_that_is_not_finite_is_not_kept(tmp_path):
    point = Points(tmp_path / "a.json")
    with pytest.raises(ValueError):
        point("a", lambda: float("nan"))
    assert not (tmp_path / "a.json").exists()


def test_every_figure_of_the_package_is_found():
    assert "vae" in figures.figure_names() and not {"points", "runner", "__main__"} & set(
        figures.figure_names()
    )


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_latents_of_a_vae_cost_their_divergence_and_a_few_bits():
    from experiments.figures import vae

    found = vae.measure(2, 300)
    kl = sum(row["kl"] for row in found["coded"]["GRCS"]["blocks"])
    assert found["kl"] == pytest.approx(kl, rel=1e-5)
    for name, own in found["coded"].items():
        assert found["kl"] < own["written"] < found["kl"] + 2 * 4, name
        # exact samples have the likelihood of the posterior's: what is lost is what was written beyond the divergence
        lost = (own["written"] - found["kl"]) / vae.PIXELS
        assert own["length"] - found["nelbo"] == pytest.approx(lost, abs=0.03), name
