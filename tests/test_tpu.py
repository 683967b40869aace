"""What `make tpu` reads out of a compiled program, and what it compares."""

import pytest

from experiments import tpu
from experiments.tpu import Cost

HLO = """
%inner (x: (s32[])) -> (s32[]) {
  %x = (s32[]) parameter(0)
  %a = s32[]{:T(128)} get-tuple-element(%x), index=0
  %b = s32[]{:T(128)} fusion(%a), kind=kLoop, calls=%f
  ROOT %t = (s32[]{:T(128)}) tuple(%b)
}
%left (x: s32[]) -> s32[] {
  %x = s32[] parameter(0)
  ROOT %c = s32[]{:T(128)} copy(%x)
}
%right (x: s32[]) -> s32[] {
  ROOT %x = s32[] parameter(0)
}
%body (x: (s32[])) -> (s32[]) {
  %x = (s32[]) parameter(0)
  %k = s32[] constant(3)
  %w = (s32[]) while(%x), condition=%test, body=%inner
  %g = f32[8,128]{1,0:T(8,128)S(1)} fusion(%w, /*index=1*/%k), kind=kOutput, calls=%f
  ROOT %o = (s32[]) conditional(%g), branch_computations={%left, %right}
}
%test (x: (s32[])) -> pred[] {
  ROOT %less = pred[] compare(%x, %x), direction=LT
}
ENTRY %main (p: s32[]) -> s32[] {
  %p = s32[] parameter(0)
  %before = s32[] fusion(%p), kind=kLoop, calls=%f
  ROOT %w = (s32[]) while(%before), condition=%test, body=%body
}
"""


def test_kernels_of_loop_steps():
    # in the inner body one, the fusion beside it, and one in a branch; none before the loop
    assert tpu.loop_kernels(HLO) == 3
    assert tpu.loop_kernels(HLO.replace("while(%before)", "fusion(%before)")) == 0


def test_tables(tmp_path, capsys):
    assert tpu.load(tmp_path / "none.json") == {}
    stored = {"a": Cost("x", 10, 1 << 20), "b": Cost("x", 10, 0), "c": Cost("x", 10, 0)}
    path = tmp_path / "folder" / "table.json"
    tpu.save(path, stored)
    assert tpu.load(path) == stored
    found = {"a": Cost("y", 11, 3 << 20), "b": Cost("y", 9, 0)}
    assert tpu.grown(["a", "b", "c"], stored, found) == ["a"]
    assert "      11       10      3.0      1.0" in capsys.readouterr().out


def test_every_program_is_stored():
    assert tpu.load(tpu.STORED).keys() == tpu.PROGRAMS.keys()


@pytest.mark.parametrize("arguments", [["nonsense"], ["AStar", "AStra"]])
def test_unknown_programs(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["tpu", *arguments])
    with pytest.raises(SystemExit):
        tpu.main()
    assert "no such programs" in capsys.readouterr().err
