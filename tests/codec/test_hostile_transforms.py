"""Damaged and hostile priors of transforms and files made with them: a clear error, or any image; never more."""

import contextlib
import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

import recjax
from recjax.codec import decompress, encode_batch, load_prior
from recjax.codec.container import Header, pack, parse
from recjax.codec.kinds import KINDS
from recjax.codec.transform.network_module import Transform
from recjax.codec.transform.prior import MOST, save
from recjax.codec.transform.rate_classes import LEAST
from recjax.errors import FormatError
from recjax.modalities.image import IMAGE


def edited(blob, header=None, tensors=None):
    """The file with its header and tensors passed through two functions."""
    length = int.from_bytes(blob[:8], "little")
    content = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["recjax"])
    text = json.dumps(content if header is None else header(content))
    arrays = safetensors.numpy.load(blob)
    return safetensors.numpy.save(
        arrays if tensors is None else tensors(arrays), metadata={"recjax": text}
    )


@contextlib.contextmanager
def little_memory(most):
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most


@pytest.fixture(scope="module")
def prior_bytes(transforms):
    return transforms.outs[0].read_bytes()


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "damaged.safetensors"

    def load(blob):
        path.write_bytes(blob)
        return load_prior(path)

    return load


@pytest.fixture(scope="module")
def refuses(loads):
    """Asserts that loading the bytes raises a ValueError and nothing else, without claiming much memory."""

    def check(blob, message="damaged or not a recjax prior"):
        with little_memory(100 * len(blob) + 2**22), pytest.raises(ValueError, match=message):
            loads(blob)

    return check


def test_every_tensor_is_checked(prior_bytes, loads):
    """Its presence, type and shape, and that its values are finite."""
    names = sorted(safetensors.numpy.load(prior_bytes))
    assert {"thresholds", "frequencies"} | {
        f"{name}.{i}" for name in ("scale", "tail") for i in range(3)
    } < set(names)
    assert {"expected.0", "expected.1", "step.2", "numbers.2"} < set(names)
    assert sum(name.startswith("params") for name in names) > 30
    for place, name in enumerate(names):
        edits = {
            "missing": None,
            "long": lambda x: np.concatenate([x, x[-1:]]),
            "short": lambda x: x[:-1].copy(),
            "nested": lambda x: x[None].copy(),
            "scalar": lambda x: x.ravel()[0].copy(),
            "turned": lambda x: (
                x.T.copy() if x.ndim == 2 and x.shape[0] != x.shape[1] else x[:, None].copy()
            ),
            "type": lambda x: x.astype(np.float64),
            "other type": lambda x: x.astype(np.int64),
        }
        if safetensors.numpy.load(prior_bytes)[name].dtype.kind == "f":
            edits |= {
                str(bad): lambda x, bad=bad: (
                    np.concatenate([x.ravel()[:-1], [bad]]).reshape(x.shape).astype(x.dtype)
                )
                for bad in (np.nan, np.inf, -np.inf)
            }
        # of the network's tensors three in turn: there is one check for all
        turn = len(edits) if not name.startswith("params") else 3
        for kind, edit in [
            list(edits.items())[(place * turn + i) % len(edits)] for i in range(turn)
        ]:

            def change(old, name=name, edit=edit):
                rest = {key: value for key, value in old.items() if key != name}
                return rest if edit is None else rest | {name: np.asarray(edit(old[name]))}

            try:
                loads(edited(prior_bytes, tensors=change))
            except ValueError as error:
                assert "damaged or not a recjax prior" in str(error)
                continue
            raise AssertionError(f"{name}: {kind}")


def rare(x):
    """One class is rarer than is allowed; the sum is right."""
    out = x.copy()
    out[3, [out[3].argmin(), out[3].argmax()]] += [
        LEAST - 1 - out[3].min(),
        out[3].min() - LEAST + 1,
    ]
    return out


def never(x):
    """One number has frequency 0; the sum is right."""
    out = x.copy()
    out[1, 255] += out[1, 3]
    out[1, 3] = 0
    return out


def wrapped(x):
    """The sum is right in 32 bits alone."""
    out = x.copy()
    out[0, [3, 4]] += 2**30
    out[0, [5, 6]] += 2**30
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frequencies": lambda x: x + (np.arange(x.size).reshape(x.shape) == 5)}, "add up"),
        ({"frequencies": rare}, "add up"),
        ({"frequencies": lambda x: -x}, "add up"),
        ({"frequencies": lambda x: x[:, :-1].copy()}, "frequencies must be"),
        ({"thresholds": lambda x: x[::-1].copy()}, "increase"),
        ({"thresholds": lambda x: np.where(np.arange(len(x)) == 2, x[1], x)}, "increase"),
        ({"thresholds": lambda x: x[:0]}, "increase"),
        ({"thresholds": lambda x: x[:-1].copy()}, "frequencies must be"),
        ({"thresholds": lambda x: np.arange(64, dtype=np.float32)}, "too many"),
        ({"expected.0": lambda x: np.full_like(x, MOST + 1)}, "out of range"),
        ({"expected.1": lambda x: np.full_like(x, 65535)}, "out of range"),
        ({"scale.1": lambda x: 0 * x}, "not positive"),
        ({"scale.1": lambda x: -x}, "not positive"),
        ({"tail.0": lambda x: 0 * x}, "not positive"),
        ({"tail.0": lambda x: 0 * x + 0.01}, "a tail is out of range"),
        ({"tail.2": lambda x: -x}, "not positive"),
        ({"tail.2": lambda x: 0 * x + 1.01}, "a tail is out of range"),
        ({"step.2": lambda x: 0 * x}, "not positive"),
        ({"step.2": lambda x: -x}, "not positive"),
        ({"numbers.2": lambda x: x + (np.arange(x.size).reshape(x.shape) == 5)}, "add up"),
        ({"numbers.2": lambda x: 0 * x}, "add up"),
        ({"numbers.2": never}, "add up"),
        ({"numbers.2": wrapped}, "add up"),
        ({"numbers.2": lambda x: x[:, 1:-1].copy()}, "numbers.2 must be"),
    ],
)
def test_wrong_values_are_refused(prior_bytes, refuses, change, message):
    def tensors(old):
        return old | {key: edit(old[key]).astype(old[key].dtype) for key, edit in change.items()}

    refuses(edited(prior_bytes, tensors=tensors), message)


@pytest.mark.parametrize(
    "header",
    [
        *(lambda h, value=value: h | {"class_level": value} for value in (-1, 0, 2, 3, 1.0, True, "1", None, [1])),
        *(
            lambda h, key=key: {k: v for k, v in h.items() if k != key}
            for key in ("class_level", "network", "budget", "beta", "metadata", "format")
        ),
        *(lambda h, kind=kind: h | {"kind": kind} for kind in ("siren", "fourier", None, [])),
        *(lambda h, other=other: h | {"network": other} for other in ({}, [], None, 7, "network", [["stride", 8]])),
        lambda h: h | {"budget": 21},
        lambda h: h | {"beta": 0},
    ],
)  # fmt: skip
def test_wrong_headers_are_refused(prior_bytes, refuses, header):
    refuses(edited(prior_bytes, header))


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": 1},
        {"stride": 6},
        {"stride": 1 << 12},
        {"stride": 1 << 13},
        {"stride": -8},
        {"depth": 12.0},
        {"depth": True},
        {"depth": 1 << 12, "stride": 1 << 6},
        {"depth": 13},
        {"levels": 2},
        {"levels": 4},
        {"levels": 1 << 12},
        {"levels": [3]},
        {"context": 0},
        {"context": 3},
        {"context": 1 << 12},
        {"hidden": 1 << 12},
        {"hidden": 2**64},
        {"hidden": "8"},
        {"hidden": None},
        {"hidden": 1 << 12, "features": 1 << 12, "context": 1 << 12},
        {"features": 1 << 12},
        {"channels": 1},
        {"channels": 4},
    ],
)
def test_impossible_networks_are_refused(prior_bytes, refuses, fields):
    refuses(edited(prior_bytes, lambda h: h | {"network": h["network"] | fields}))


def test_networks_without_a_size_have_no_default(prior_bytes, refuses):
    for key in ("stride", "depth", "levels", "context", "hidden", "features"):
        refuses(
            edited(
                prior_bytes,
                lambda h, key=key: (
                    h | {"network": {k: v for k, v in h["network"].items() if k != key}}
                ),
            )
        )


def test_gray_networks_are_refused(transforms, tmp_path):
    """Images have three channels, whatever the tensors fit."""
    prior, path = transforms.priors[0], tmp_path / "gray.safetensors"
    config = dataclasses.replace(prior.config, channels=1)
    depths = config.depths
    gray = dataclasses.replace(
        prior,
        network=Transform(config).network(),
        scales=tuple(np.ones(depth, np.float32) for depth in depths),
        tails=tuple(np.ones(depth, np.float32) for depth in depths),
        step_sizes=(prior.step_sizes[0][: depths[2]],),
        symbol_frequencies=(prior.symbol_frequencies[0][: depths[2]],),
        expected=tuple(x[:, :depth] for x, depth in zip(prior.expected, depths)),
    )
    save(gray, path)
    with pytest.raises(ValueError, match="channels"):
        load_prior(path)


def test_every_truncation_is_refused(prior_bytes, refuses):
    header = 8 + int.from_bytes(prior_bytes[:8], "little")
    for end in sorted(
        {0, 1, 8, header - 1, header, len(prior_bytes) - 1} | set(range(0, len(prior_bytes), 997))
    ):
        refuses(prior_bytes[:end])
    refuses(prior_bytes + b"\0")


def test_flipped_header_bytes_never_raise_anything_else(prior_bytes, loads, transforms):
    header, rng = 8 + int.from_bytes(prior_bytes[:8], "little"), np.random.default_rng(0)
    for at in rng.choice(np.arange(8, header), 100, replace=False):
        blob = bytearray(prior_bytes)
        blob[at] ^= 1 << rng.integers(8)
        try:
            assert loads(bytes(blob)).digest != transforms.priors[0].digest
        except ValueError as error:
            assert "damaged" in str(error)


@pytest.fixture(scope="module")
def file(transforms, waves):
    """A prior, and a file of one cell and a bit."""
    prior = transforms.priors[1]
    (result,) = encode_batch(
        [recjax.Signal(waves(9, 1, 20, 40)[0], "image", {"gray": False})], prior, effort=1
    )
    return prior, result.blob


def resealed(file, payload=None, prior=None, **fields):
    """The file with another payload or header, and the checksum that belongs to it."""
    header, own = parse(file[1])
    prior = prior or file[0]
    return pack(
        dataclasses.replace(header, **fields), own if payload is None else payload, prior.digest
    )


def test_the_untouched_file_decodes(file):
    prior, blob = file
    assert resealed(file) == blob
    assert decompress(blob, priors=[prior]).values.shape == (20, 40, 3)


def test_bytes_missing_or_left_over_are_refused(file):
    prior, blob = file
    payload = parse(blob)[1]
    for extra in (b"\0", b"\xff", payload):
        with pytest.raises(FormatError):
            decompress(resealed(file, payload + extra), priors=[prior])
    longer = 0
    for end in range(len(payload)):
        with contextlib.suppress(FormatError):
            decompress(resealed(file, payload[:end]), priors=[prior])
            longer += 1
    # the canonical code of other indices, or none
    assert longer < len(payload) / 2


def test_flipped_bits_decode_or_are_a_format_error(file):
    prior, blob = file
    payload, rng, decoded = parse(blob)[1], np.random.default_rng(1), 0
    for at in range(len(payload)):
        damaged = bytearray(payload)
        damaged[at] ^= 1 << int(rng.integers(8))
        header, body = parse(resealed(file, bytes(damaged)))
        try:
            parts = KINDS[prior.kind].account(prior, header, body)
        except FormatError:
            continue
        decoded += 1
        assert sum(part["index_bits"] for part in parts.values()) < 8 * len(body) + 64
        if decoded < 5:
            image = decompress(resealed(file, bytes(damaged)), priors=[prior]).values
            assert image.shape == (20, 40, 3) and image.dtype == np.uint8
    assert decoded > 0


def test_random_streams_decode_or_are_a_format_error(file):
    prior, rng = file[0], np.random.default_rng(2)
    for length in (0, 1, 4, len(parse(file[1])[1]), 300):
        for _ in range(10):
            header, body = parse(resealed(file, rng.bytes(length)))
            with contextlib.suppress(FormatError):
                assert KINDS[prior.kind].account(prior, header, body)
    with contextlib.suppress(FormatError):
        decompress(resealed(file, b""), priors=[prior])


def test_other_codes_of_indices_are_refused(file):
    for exponent in (1, 64, 255):
        with pytest.raises(FormatError, match="exponent"):
            decompress(resealed(file, exponent=exponent), priors=[file[0]])


@pytest.mark.parametrize("extra_bits", [0, 5, 7])
def test_files_of_the_first_version_are_refused(file, extra_bits):
    """There the blocks of other priors stand alone; transforms came after it."""
    with pytest.raises(FormatError, match="version"):
        decompress(resealed(file, version=1, extra_bits=extra_bits), priors=[file[0]])


def test_registers_that_are_too_long_are_refused(file):
    with pytest.raises(FormatError, match="extra_bits"):
        decompress(resealed(file, extra_bits=5), priors=[file[0]])


@pytest.mark.parametrize("shape", [(4096, 4096), (4096, 1)])
@pytest.mark.parametrize("payload", [b"", b"\x12\x34"])
def test_huge_shapes_in_small_files_cost_little(transforms, shape, payload):
    prior = transforms.priors[1]
    header = Header(
        scheme=1, modality=IMAGE, shape=shape, flag=False, extra_bits=0, exponent=0,
        digest_prefix=prior.digest[:3],
    )  # fmt: skip
    with little_memory(2**24), pytest.raises(FormatError):
        decompress(pack(header, payload, prior.digest), priors=[prior])


def test_sides_beyond_the_bound_are_refused(transforms):
    header = Header(
        scheme=1, modality=IMAGE, shape=(4096, 1), flag=False, extra_bits=0, exponent=0,
        digest_prefix=transforms.priors[1].digest[:3],
    )  # fmt: skip
    blob = pack(header, b"", transforms.priors[1].digest)
    assert blob.count(b"\x80\x20") == 1  # 4096 as a varint
    with pytest.raises(FormatError, match="outside"):
        decompress(blob.replace(b"\x80\x20", b"\x81\x20"), priors=transforms.priors)


@pytest.mark.parametrize(("numbers", "begun"), [(False, []), (True, ["take_symbols"])])
def test_streams_too_short_for_any_numbers_or_classes_are_not_begun(
    file, monkeypatch, numbers, begun
):
    """Those of a large image take a while and much memory, however few bytes claim to hold them."""
    prior, read = file[0], []
    for name in ("take_symbols", "take_classes"):
        monkeypatch.setattr(
            f"recjax.codec.transform.stream.{name}", lambda *args, name=name: read.append(name)
        )
    if numbers:  # they are all 0 and cost next to nothing
        free = np.full((1, 511), 1, np.int32)
        free[:, 255] = (1 << 24) - 510
        prior = dataclasses.replace(
            prior, symbol_frequencies=(free.repeat(len(prior.symbol_frequencies[0]), 0),)
        )
    with pytest.raises(FormatError, match="cut off"):
        decompress(resealed(file, b"\x12\x34", shape=(4096, 4096)), priors=[prior])
    assert read == begun
