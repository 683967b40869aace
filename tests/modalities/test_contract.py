"""What every modality promises; also two toys of one and three axes, each a module and an entry in the list."""

import dataclasses
import itertools
import json

import miniature
import numpy as np
import pytest
from toy_sound import SOUND
from toy_volume import VOLUME

import recjax
from recjax.codec import container
from recjax.codec.header import least_version
from recjax.modalities import MODALITIES, Grid, Signal, registry
from recjax.modalities.files import signal_of
from recjax.modalities.grid import cut, filled_up, join, n_patches, weights_of

ALL = (*MODALITIES, SOUND, VOLUME)


@pytest.fixture(autouse=True)
def toys(monkeypatch, tmp_path):
    """The toy modalities beside the others, and embedded priors of the toy kind for all of them."""
    monkeypatch.setattr(registry, "MODALITIES", ALL)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "priors"
    miniature.install(monkeypatch, folder)
    for modality in ALL:
        for number, name in enumerate(modality.qualities.values()):
            miniature.write_toy(
                folder / f"{name}.safetensors",
                modality=modality.name,
                sides=range(2, 2 + modality.rank),
                depth=min(modality.channels),
                step=2.0 ** -(number + 3),
            )
    return folder


@pytest.fixture(params=ALL, ids=lambda modality: modality.name)
def modality(request):
    return request.param


def example(modality, seed=0, sides=None, flag=False) -> Signal:
    """A smooth signal of the modality."""
    rng = np.random.default_rng(seed)
    sides = sides or tuple(rng.integers(5, 12, modality.rank))
    shape = (*sides, min(modality.channels))
    ramps = np.meshgrid(*(np.linspace(0, 3, side) for side in sides), indexing="ij")
    waves = np.sin(sum(ramps))[..., None] * rng.uniform(0.2, 0.4, shape[-1])
    return modality.from_grid(Grid(waves.astype(np.float32), flag=flag))


def equal(a: Signal, b: Signal) -> bool:
    same = a.values.dtype == b.values.dtype and np.array_equal(a.values, b.values)
    return same and a.modality == b.modality and a.meta == b.meta


def test_names_codes_and_suffixes_are_told_apart():
    for one, other in itertools.combinations(ALL, 2):
        assert one.name != other.name and one.code != other.code
        assert not set(one.suffixes) & set(other.suffixes)
        assert not set(one.qualities.values()) & set(other.qualities.values())


def test_the_description_is_whole(modality):
    assert 0 <= modality.code <= 7 and modality.rank == len(set(modality.axes)) >= 1
    assert modality.default_quality in modality.qualities
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in modality.suffixes)
    names = list(modality.qualities)
    assert modality.prior_of_quality(len(names)) == modality.prior_of_quality(names[-1])
    for wrong in (0, len(names) + 1, "ultra"):
        with pytest.raises(ValueError, match=f"quality of {modality.name} must be {names[0]}"):
            modality.prior_of_quality(wrong)


@pytest.mark.parametrize("flag", [False, True])
def test_doors(modality, flag):
    signal = example(modality, flag=flag)
    modality.check(signal)
    grid = modality.to_grid(signal)
    assert grid.values.dtype == np.float32 and np.abs(grid.values).max() <= 0.5
    assert len(grid.sides) == modality.rank and grid.values.shape[-1] in modality.channels
    assert equal(modality.from_grid(grid), signal)
    far = modality.from_grid(dataclasses.replace(grid, values=9 * grid.values))
    assert np.abs(modality.to_grid(far).values).max() <= 0.5
    assert modality.score.measure(signal, signal) != modality.score.measure(signal, far)
    described = json.loads(json.dumps(modality.describe(grid.flag, grid.meta)))
    assert described == modality.describe(grid.flag, grid.meta)


@pytest.mark.parametrize("flag", [False, True])
def test_headers(modality, flag):
    digest = bytes(range(32))
    for shape in (None, (1,) * modality.rank, (modality.max_side,) + (1,) * (modality.rank - 1)):
        header = container.Header(
            scheme=1,
            modality=modality,
            shape=shape,
            flag=flag,
            extra_bits=0,
            exponent=64,
            digest_prefix=digest[:3],
            version=max(2, least_version(shape, b"", 0)),
        )
        assert container.parse(container.pack(header, b"abc", digest)) == (header, b"abc")
    for shape in (
        (0,) * modality.rank,
        (1,) * (modality.rank + 1),
        (modality.max_side + 1,) * modality.rank,
    ):
        with pytest.raises(ValueError, match=r"shape|sides"):
            dataclasses.replace(header, shape=shape)


def test_files_of_one_modality_are_not_those_of_another(modality):
    signal = example(modality)
    for suffix in modality.suffixes:
        data = modality.write(signal, suffix)
        assert [other for other in ALL if other.sniff(data[:64])] == [modality]
        back = signal_of(data, "name")
        assert back.modality == modality.name and back.values.shape == signal.values.shape
        recjax.save(signal, f"file{suffix}")
        assert equal(recjax.load(f"file{suffix}"), back)
        for cut_off in (data[:5], data[: len(data) // 2]):
            with pytest.raises(ValueError, match="name"):
                signal_of(cut_off, "name")
    assert equal(signal_of(modality.write(signal, modality.suffixes[0]), "name"), signal)
    with pytest.raises(ValueError, match="suffix must be one of"):
        recjax.save(signal, "file.other")


def test_what_cannot_be_coded_is_refused(modality):
    signal = example(modality)
    shape, axis = signal.values.shape, np.zeros(1, signal.values.dtype)
    too_long = (modality.max_side + 1, *(1,) * (modality.rank - 1), *shape[modality.rank :])
    wrong = [
        np.zeros((0, *shape[1:]), signal.values.dtype),
        np.broadcast_to(axis.reshape((1,) * len(shape)), too_long),
        signal.values.astype(np.complex64),
        signal.values[None],
    ]
    if signal.values.dtype.kind == "f":
        wrong += [signal.values * np.float32(np.nan), signal.values + np.float32(np.inf)]
    for values in wrong:
        with pytest.raises(ValueError):
            recjax.compress(dataclasses.replace(signal, values=values))
    with pytest.raises(ValueError, match="is not known"):
        recjax.compress(dataclasses.replace(signal, modality="smell"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"values": np.nan}, "not finite"),
        ({"mask": False}, "the mask leaves nothing"),
    ],
)
def test_grids_that_cannot_be_coded_are_refused(modality, monkeypatch, change, reason):
    def to_grid(signal):
        grid = modality.to_grid(signal)
        full = {
            "values": lambda value: np.full_like(grid.values, value),
            "mask": lambda value: np.full(grid.sides, value),
        }
        return dataclasses.replace(grid, **{name: full[name](x) for name, x in change.items()})

    broken = dataclasses.replace(modality, to_grid=to_grid)
    monkeypatch.setattr(
        registry, "MODALITIES", [broken if other is modality else other for other in ALL]
    )
    with pytest.raises(ValueError, match=reason):
        recjax.compress(example(modality))


def test_signals_of_two_modalities_are_no_batch(modality):
    others = [other for other in ALL if other is not modality]
    with pytest.raises(ValueError, match="must be of one modality"):
        recjax.compress_batch([example(modality), example(others[0])])
    name = next(iter(others[0].qualities.values()))
    with pytest.raises(ValueError, match=f"prior for {others[0].name} cannot encode"):
        recjax.compress(example(modality), name)


def test_real_files(modality, capsys):
    side = {1: 300, 2: 30, 3: 10}[modality.rank]
    signal = example(modality, sides=(side,) * modality.rank, flag=True)
    blob = recjax.compress(signal)
    assert container.parse(blob)[0].modality is modality
    back = recjax.decompress(blob)
    assert back.values.shape == signal.values.shape and back.meta == signal.meta
    error = np.abs(modality.to_grid(back).values - modality.to_grid(signal).values)
    assert error.mean() < 0.15
    encoding = recjax.encode(signal)
    cells = np.prod(modality.to_grid(signal).sides)
    assert encoding.blob == blob and encoding.rate == 8 * len(blob) / cells
    assert encoding.score == modality.score.measure(signal, back)
    smaller = recjax.compress(signal, bpp=0.8 * encoding.rate)
    assert len(smaller) < len(blob)

    recjax.save(signal, f"a{modality.suffixes[0]}")
    _, said, err = miniature.run(capsys, "compress", f"a{modality.suffixes[0]}", "a.rec", "--check")
    assert f" bits per {modality.unit}, " in said and modality.score.unit in said and err == ""
    assert miniature.run(capsys, "info", "a.rec", "--json")[0] == 0
    assert miniature.run(capsys, "decompress", "a.rec", f"b{modality.suffixes[0]}")[0] == 0
    assert equal(recjax.load(f"b{modality.suffixes[0]}"), back)
    line = miniature.refused(capsys, "decompress", "a.rec", "b.other")
    assert modality.suffixes[0] in line


def test_measured_on_a_folder(modality, tmp_path, capsys):
    (tmp_path / "set").mkdir()
    for number in range(2):
        recjax.save(example(modality, number), f"set/{number}{modality.suffixes[0]}")
    code, out, err = miniature.run(capsys, "eval", "set", "--json", "out.json")
    assert (code, err) == (0, "") and out.startswith(modality.name)
    (panel,) = json.loads((tmp_path / "out.json").read_text())["results"]["panels"]
    assert panel["x"]["label"] == f"rate (bits per {modality.unit})"
    assert panel["y"]["label"] == f"{modality.score.name} ({modality.score.unit})"


def test_training_signals_keep_their_type(modality):
    values, rng = example(modality, sides=(6,) * modality.rank).values, np.random.default_rng(0)
    for change in (modality.symmetry, modality.augment):
        for _ in range(5):
            changed = change(values, rng)
            assert changed.dtype == values.dtype and changed.shape == values.shape
    if modality.rescale is not None:
        smaller = modality.rescale(values, 0.5)
        assert (
            smaller.dtype == values.dtype and smaller.shape[: modality.rank] == (3,) * modality.rank
        )


def test_patches_of_any_rank(modality):
    grid = modality.to_grid(example(modality, 3))
    patch = tuple(range(2, 2 + modality.rank))
    padded = filled_up(grid.values, patch)
    patches = cut(padded, patch)
    assert patches.shape == (np.prod(n_patches(grid.sides, patch)), *patch, grid.values.shape[-1])
    np.testing.assert_array_equal(join(patches, grid.sides, patch), grid.values)
    assert weights_of(grid, patch).sum() == np.prod(grid.sides)
