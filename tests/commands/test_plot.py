"""``recjax plot``: what is drawn over what, BD-rates, refusals."""

import dataclasses
import sys
from pathlib import Path

import pytest
from miniature import refused, run
from PIL import Image

from recjax.results.drawing import draw, picture
from recjax.results.files import PSNR, RATE, Axis, Curve, Panel, Results, save_results
from recjax.results.overlay import overlay

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

OURS = Curve.with_errors("ours", [0.5, 1.0, 2.0], [30.0, 34.0, 38.0], [0.1, 0.1, 0.2])
THEIRS = Curve("theirs", (0.625, 1.25, 2.5), (30.0, 34.0, 38.0), kind="published", source="a paper")
LIMIT = Curve("limit", (0.5, 2.0), (32.0, 40.0), kind="theory")


def results(name, *curves, title="Set", x=RATE):
    return Results(name, f"about {name}", "a test", (Panel(title, x, PSNR, curves),))


def labels(*several):
    return [curve.label for panel in overlay(several) for curve in panel.curves]


def test_equal_panels_are_one_and_equal_curves_are_drawn_once():
    a, b = results("a", OURS, THEIRS), results("b", THEIRS, LIMIT, title="set")
    (panel,) = overlay([a, b])
    assert panel.title == "Set" and panel.curves == (OURS, THEIRS, LIMIT)
    assert len(overlay([a, results("c", OURS, title="Other")])) == 2
    assert len(overlay([a, results("c", OURS, x=Axis("rate (bits per pixel)"))])) == 2


def test_equal_labels_are_told_apart():
    other = dataclasses.replace(OURS, y=(31.0, 35.0, 39.0))
    assert labels(results("a", OURS), results("b", other)) == ["ours (a)", "ours (b)"]
    assert labels(results("a", OURS), results("b", dataclasses.replace(THEIRS, label="ours"))) == [
        "ours",
        "ours",
    ]


def test_points_of_several_files_become_a_curve():
    points = [
        Curve.with_errors("ours", [x], [y], [0.5])
        for x, y in ((2.0, 38.0), (0.5, 30.0), (1.0, 34.0))
    ]
    ((curve,),) = (
        panel.curves
        for panel in overlay([results(str(i), point) for i, point in enumerate(points)])
    )
    assert (
        curve.x == (0.5, 1.0, 2.0) and curve.y == (30, 34, 38) and curve.low == (29.5, 33.5, 37.5)
    )
    bare = Curve("ours", (3.0,), (40.0,))
    ((curve,),) = (panel.curves for panel in overlay([results("a", points[0]), results("b", bare)]))
    assert curve.x == (2.0, 3.0) and curve.low == ()


def test_styles_say_what_is_measured():
    (axes,) = draw([results("a", OURS, THEIRS, LIMIT)]).axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    assert [drawn[name].get_linestyle() for name in ("ours", "theirs (published)", "limit")] == [
        "-",
        "--",
        ":",
    ]
    assert (
        drawn["theirs (published)"].get_markerfacecolor() == "none"
        and drawn["ours"].get_marker() == "o"
    )
    assert len(axes.collections) == 1  # the band
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert axes.get_xlabel() == RATE.label and axes.get_title() == "Set"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == set(drawn)
    assert axes.get_legend().get_title().get_text() == "bands: standard error"


def test_points_far_from_the_measured_ones_do_not_squeeze_them():
    far = dataclasses.replace(THEIRS, x=(0.5, 1.0, 50.0), y=(30.0, 34.0, 60.0))
    (axes,) = draw([results("a", OURS, far)]).axes
    assert axes.get_xlim()[1] < 10 and axes.get_ylim()[1] < 40
    (axes,) = draw([results("a", far)]).axes
    assert axes.get_xlim()[1] > 50 and axes.get_ylim()[1] > 60


def test_numbers_without_a_place_on_a_logarithmic_axis_are_left_out():
    (axes,) = draw([results("a", Curve("zero", (0.0, 1.0), (1.0, 2.0)))]).axes
    assert 0.9 < axes.get_xlim()[0] < 1 < axes.get_xlim()[1] < 1.1
    for curve in (Curve("none", (0.0,), (1.0,)), Curve("empty", (), ())):
        assert picture(draw([results("a", curve)]), ".png").startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
@pytest.mark.parametrize(
    "values", [(1e100, 1e-100), (-1e100, 1e100), (5e-324, 1.0), (1e90, 1e90), (0.0, 0.0)]
)
def test_extreme_numbers_are_drawn(scale, values):
    panel = Panel("", Axis("x", scale), Axis("y", scale), (Curve("extreme", values, values),))
    assert picture(draw([Results("a", "", "", (panel,))]), ".png").startswith(b"\x89PNG")


def test_numbers_beyond_drawing_are_refused():
    with pytest.raises(ValueError, match="huge has a number larger than"):
        draw([results("a", Curve("huge", (1.0,), (-1e101,)))])


def test_every_panel_has_a_place():
    panels = tuple(Panel(str(i), Axis("x", "log2"), Axis("y", "log"), (OURS,)) for i in range(5))
    figure = draw([Results("a", "about a", "", panels)])
    assert [axes.get_title() for axes in figure.axes] == list("01234")
    assert figure.get_suptitle() == "about a"


def test_a_label_looks_alike_in_all_panels():
    other = Curve("other", (1.0, 2.0), (30.0, 31.0))
    figure = draw([results("a", other, OURS), results("b", OURS, title="Other")])
    first, second = (axes.get_lines()[-1] for axes in figure.axes)
    assert first.get_label() == second.get_label() == "ours"
    assert (first.get_color(), first.get_marker()) == (second.get_color(), second.get_marker())


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_equal_numbers_make_equal_files(suffix):
    first, again = (picture(draw([results("a", OURS)]), suffix) for _ in range(2))
    assert first == again


def test_plot_writes_a_picture_and_bd_rates(folder, capsys):
    save_results(results("x", OURS, LIMIT), "a.json")
    save_results(results("x", THEIRS), "b.json")
    code, out, err = run(capsys, "plot", "a.json", "b.json")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Set: rate at equal PSNR (BD-rate) against ours"
    assert out.splitlines()[1].split() == [
        "theirs",
        "(published)",
        "+25.0",
        "%",
    ] and out.splitlines()[2:] == ["a.png"]
    assert Image.open("a.png").width > 400
    assert "exists" in refused(capsys, "plot", "a.json")
    assert run(capsys, "plot", "a.json", "--force") == (0, "a.png\n", "")
    assert run(capsys, "plot", "a.json", "--out", "a.pdf")[0] == 0 and Path(
        "a.pdf"
    ).read_bytes().startswith(b"%PDF")


def test_files_of_one_name_are_told_apart_by_their_folders(folder, capsys):
    for name, curve in (("one", OURS), ("two", dataclasses.replace(OURS, y=(31.0, 35.0, 39.0)))):
        Path(name).mkdir()
        save_results(results("x", curve), f"{name}/a.json")
    out = run(capsys, "plot", "one/a.json", "two/a.json")[1]
    assert "against ours (one/a.json)" in out and "ours (two/a.json)" in out


def test_what_cannot_be_plotted_is_refused(folder, capsys):
    save_results(Results("x", "", "", ()), "empty.json")
    save_results(results("x", OURS), "a.json")
    Path("text.json").write_text("no results")
    assert "nothing to plot" in refused(capsys, "plot")
    assert "no curve" in refused(capsys, "plot", "empty.json")
    assert "text.json is no results file" in refused(capsys, "plot", "a.json", "text.json")
    assert "cannot be read" in refused(capsys, "plot", "none.json")
    assert ".png, .pdf, .svg" in refused(capsys, "plot", "a.json", "--out", "a.jpg")
    assert "no folder" in refused(capsys, "plot", "a.json", "--out", "none/a.png")
    assert not list(Path().glob("*.png.*")) and not Path("a.png").exists()


@pytest.mark.parametrize("missing", ["matplotlib", "scipy"])
def test_the_extra_is_named_if_it_is_missing(folder, capsys, monkeypatch, missing):
    save_results(results("x", OURS, THEIRS), "a.json")
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert "recjax[plots]" in refused(capsys, "plot", "a.json")
    assert not Path("a.png").exists()
