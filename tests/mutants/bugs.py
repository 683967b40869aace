"""The planted bugs: small wrong edits that the quick tests of one file must catch."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One wrong edit.

    Attributes:
        name: part of the package, and what is wrong.
        file: the file to edit, from the root of the repository.
        old: a text that occurs in it exactly once.
        new: what replaces it.
        test: the test file that must fail.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


DISTRIBUTIONS = "tests/distributions/test_distributions.py"
UNIFORMS = "tests/distributions/test_targets_in_uniforms.py"
CHANNEL = "tests/distributions/test_channel.py"
LIMITS = "tests/limits/test_limits.py"
STATISTICS = "tests/samplers/test_statistics.py"
TREES = "tests/samplers/test_tree_statistics.py"
CONTRACT = "tests/samplers/test_contract.py"
RECORDED = "tests/samplers/test_recorded_codes.py"
CHANNEL_CODERS = "tests/samplers/test_channel_coders.py"
PARTITIONING = "tests/samplers/test_space_partitioning.py"
STREAMS = "tests/samplers/test_index_stream.py"
RANDOMNESS = "tests/test_randomness.py"
WORDS = "tests/test_words.py"
ELIAS = "tests/bits/test_elias.py"
INDEX_CODE = "tests/bits/test_index_code.py"
HEAP_PATH = "tests/bits/test_heap_path.py"
GRID = "tests/modalities/test_grid.py"
AUDIO = "tests/modalities/test_audio.py"
IMAGE = "tests/modalities/test_image.py"
RESULTS = "tests/results/test_files.py"
BLOCKS = "tests/blocks/test_ordered_random.py"
TRELLIS = "tests/blocks/test_trellis.py"
CONTAINER = "tests/codec/test_container.py"
STAGED = "tests/codec/staged/test_staged.py"
VECTORS = "tests/samplers/test_vector_coder.py"
LOWERING = "tests/samplers/test_lowering.py"
TRAPS = "tests/samplers/test_traps.py"
MOMENTS = "tests/distributions/test_moments.py"
LAYOUT = "tests/blocks/test_vector_layout.py"
SELECT = "tests/samplers/test_select.py"
CATEGORICAL = "tests/distributions/test_categorical.py"
PRIVATE = "tests/samplers/test_poisson_private.py"
CENTRES = "tests/samplers/test_dithered_centres.py"
SHARDING = "tests/samplers/test_sharding.py"

# name, file under recjax/, old text, new text, test file
_ROWS = (
    # distributions
    (
        "distributions-normal-density",
        "distributions/normal.py",
        "self._sum(-0.5 * z * z - jnp.log(self.scale)",
        "self._sum(-0.5 * z * z + jnp.log(self.scale)",
        DISTRIBUTIONS,
    ),
    (
        "distributions-normal-units-of-shift",
        "distributions/normal.py",
        "self.shift = (target.loc - proposal.loc) / proposal.scale",
        "self.shift = (target.loc - proposal.loc) / target.scale",
        LIMITS,
    ),
    (
        "distributions-normal-kl-sign",
        "distributions/normal.py",
        "0.5 * (m * m - self.shrink)",
        "0.5 * (m * m + self.shrink)",
        LIMITS,
    ),
    (
        "distributions-normal-missing-bound",
        "distributions/normal.py",
        "(q.scale > p.scale) | (q.scale == p.scale) & (q.loc != p.loc)",
        "(q.scale > p.scale)",
        LIMITS,
    ),
    (
        "distributions-laplace-tails-swapped",
        "distributions/laplace.py",
        "jnp.where(z < 0, tail, 1 - tail)",
        "jnp.where(z > 0, tail, 1 - tail)",
        DISTRIBUTIONS,
    ),
    (
        "distributions-laplace-median",
        "distributions/laplace.py",
        "m * (1 + 1 / b)",
        "m * (1 - 1 / b)",
        LIMITS,
    ),
    (
        "distributions-uniform-biased-draw",
        "distributions/uniform.py",
        "self._affine(self.high, -width, tail)",
        "self._affine(self.high, width, tail)",
        DISTRIBUTIONS,
    ),
    (
        "distributions-triangle-quantiles",
        "distributions/triangular.py",
        "jnp.sqrt(0.5 * jnp.minimum(u, 1 - u))",
        "jnp.sqrt(0.4 * jnp.minimum(u, 1 - u))",
        UNIFORMS,
    ),
    (
        "distributions-mixture-weights",
        "distributions/uniform_mixture.py",
        "self.weights / self.weights.sum(-1, keepdims=True)",
        "self.weights / self.weights.max(-1, keepdims=True)",
        UNIFORMS,
    ),
    (
        "distributions-mixture-overlap-unchecked",
        "distributions/uniform_mixture.py",
        "overlap & ~np.eye(self.low.shape[-1], dtype=bool)",
        "overlap & False",
        UNIFORMS,
    ),
    (
        "distributions-categorical-off-by-one",
        "distributions/categorical.py",
        "jnp.sum(place[:, None] >= ends[None], -1, dtype=jnp.int32)",
        "jnp.sum(place[:, None] > ends[None], -1, dtype=jnp.int32)",
        "tests/distributions/test_categorical.py",
    ),
    (
        "distributions-channel-level",
        "distributions/channel.py",
        "gap > self.log_max - self.log_ratios(y)",
        "gap < self.log_max - self.log_ratios(y)",
        CHANNEL,
    ),
    (
        "distributions-channel-shares-unchecked",
        "distributions/channel.py",
        "if known.sum() > self.total:",
        "if known.sum() > self.total << 8:",
        CHANNEL,
    ),
    (
        "distributions-steps-of-the-width",
        "distributions/step_ratio.py",
        "widths = jnp.cumsum(p[order][::-1])[::-1]",
        "widths = jnp.cumsum(p[order])",
        "tests/distributions/test_categorical.py",
    ),
    (
        "distributions-ball-dimension",
        "distributions/noncentral_chi2.py",
        "special.gammainc((d - 1) / 2,",
        "special.gammainc(d / 2,",
        "tests/distributions/test_noncentral_chi2.py",
    ),
    # limits
    (
        "limits-gprs-rate",
        "limits/bounds.py",
        "jnp.log2(mutual_information + 2) + 3",
        "jnp.log2(mutual_information + 1) + 3",
        "tests/limits/test_bounds.py",
    ),
    (
        "limits-steps-of-trees",
        "limits/bounds.py",
        "(kl + 2 + (1 + _EULER) * _LOG2_E)",
        "(kl + 2 + (1 - _EULER) * _LOG2_E)",
        "tests/limits/test_bounds.py",
    ),
    (
        "limits-budget-of-the-worse-bound",
        "limits/bounds.py",
        "jnp.fmin(markov, geometric)",
        "jnp.fmax(markov, geometric)",
        "tests/samplers/test_budgeted_a_star.py",
    ),
    (
        "limits-kl-from-widths",
        "limits/divergences.py",
        "nats = 1 + jnp.sum(u * mass)",
        "nats = jnp.sum(u * mass)",
        "tests/distributions/test_user_pair.py",
    ),
    (
        "limits-nodes-of-levels",
        "limits/divergences.py",
        "weights * 2 * t * jnp.exp(u + log_w)",
        "weights * t * jnp.exp(u + log_w)",
        "tests/distributions/test_user_pair.py",
    ),
    (
        "limits-functional-information-order",
        "limits/channels.py",
        "jnp.cumsum(share[order])",
        "jnp.cumsum(share)",
        CHANNEL,
    ),
    (
        "limits-privacy-factor",
        "limits/privacy.py",
        "2 * alpha *",
        "alpha *",
        "tests/samplers/test_poisson_private.py",
    ),
    # bits
    (
        "bits-gamma-length",
        "bits/elias.py",
        "return 2 * _digits(_checked(n)) - 1",
        "return 2 * _digits(_checked(n))",
        ELIAS,
    ),
    (
        "bits-digits-of-powers",
        "bits/elias.py",
        'np.searchsorted(_POWERS, n, side="right")',
        'np.searchsorted(_POWERS, n, side="left") + (n == 1)',
        ELIAS,
    ),
    (
        "bits-elias-count-unchecked",
        "bits/elias.py",
        "if count > 8 * len(",
        "if count > (1 << 50) * len(",
        ELIAS,
    ),
    (
        "bits-elias-left-over",
        "bits/elias.py",
        'if len(text) - position >= 8 or b"1" in text[position:]:',
        "if len(text) - position >= 8:",
        ELIAS,
    ),
    (
        "bits-rank-of-a-bin",
        "bits/zipf.py",
        "_weight(low + 1 + high, high - low, a)",
        "_weight(low + 2 + high, high - low, a)",
        INDEX_CODE,
    ),
    (
        "bits-zeta-exponent",
        "bits/zipf.py",
        "float(np.float32(64 / (a - 64.5) - 1))",
        "float(np.float32(64 / (a - 64.4) - 1))",
        "tests/bits/test_zeta_code.py",
    ),
    (
        "bits-best-exponent",
        "bits/zipf.py",
        "log_mid = np.log2(edges[:-1] + edges[1:] + 1.0)",
        "log_mid = np.log2(2.0 * edges[1:])",
        INDEX_CODE,
    ),
    (
        "bits-support-unchecked",
        "bits/zipf.py",
        "(indices < 0) | (indices >> log2_sizes != 0)",
        "(indices < 0) | (indices >> log2_sizes > 1)",
        INDEX_CODE,
    ),
    (
        "bits-index-bytes-left-over",
        "bits/range_coder.py",
        "if encode_indices(indices, log2_sizes, a) != data:",
        "if False:",
        INDEX_CODE,
    ),
    (
        "bits-end-of-the-stream",
        "bits/stream.py",
        "value = -(-low >> shift)",
        "value = (low >> shift) + 1",
        INDEX_CODE,
    ),
    (
        "bits-impossible-branches",
        "bits/heap_path.py",
        "np.clip(left, 1, 2**PRECISION - 1)",
        "np.clip(left, 0, 2**PRECISION)",
        HEAP_PATH,
    ),
    (
        "bits-length-of-a-path",
        "bits/heap_path.py",
        "np.arange(branches.shape[1]) < depths[:, None] - 1",
        "np.arange(branches.shape[1]) < depths[:, None]",
        HEAP_PATH,
    ),
    (
        "bits-delta-of-octaves",
        "bits/number_models.py",
        "(2 * digits.bit_length() - 1)",
        "(2 * digits.bit_length())",
        STREAMS,
    ),
    # randomness, words
    (
        "randomness-rotation",
        "randomness.py",
        "((13, 15, 26, 6), (17, 29, 16, 24))",
        "((13, 15, 26, 6), (17, 29, 24, 16))",
        RANDOMNESS,
    ),
    (
        "randomness-key-schedule",
        "randomness.py",
        "jnp.uint32(group + 1)",
        "jnp.uint32(group)",
        RANDOMNESS,
    ),
    (
        "randomness-cell-centres",
        "randomness.py",
        "(bits >> 9).astype(jnp.int32).astype(dtype) + 0.5",
        "(bits >> 9).astype(jnp.int32).astype(dtype)",
        RANDOMNESS,
    ),
    (
        "randomness-exponential-halves",
        "randomness.py",
        "jnp.where(lower, -jnp.log(tail), -jnp.log1p(-tail))",
        "jnp.where(lower, -jnp.log1p(-tail), -jnp.log(tail))",
        RANDOMNESS,
    ),
    (
        "randomness-first-coordinate",
        "randomness.py",
        "both[..., start - 2 * first : start - 2 * first + d]",
        "both[..., :d]",
        RANDOMNESS,
    ),
    (
        "randomness-odd-key",
        "randomness.py",
        "words.ndim != 1 or words.size % 2:",
        "words.ndim != 1:",
        RANDOMNESS,
    ),
    (
        "words-carry",
        "words.py",
        "a[0] + b[0] + (low < b[1]).astype(jnp.uint32), low",
        "a[0] + b[0], low",
        WORDS,
    ),
    (
        "words-middle-product",
        "words.py",
        "outer = a0 * b1 + (inner & 0xFFFF)",
        "outer = a0 * b1 + inner",
        WORDS,
    ),
    (
        "words-order",
        "words.py",
        "(a[0] == b[0]) & (a[1] < b[1])",
        "(a[0] == b[0]) & (a[1] <= b[1])",
        WORDS,
    ),
    # modalities, results, files
    (
        "modalities-gray-rounding",
        "modalities/image/pixels.py",
        "(values.sum(-1, dtype=np.uint16) + 1) // 3",
        "values.sum(-1, dtype=np.uint16) // 3",
        "tests/codec/test_golden_files.py",
    ),
    (
        "modalities-sides-swapped",
        "modalities/grid.py",
        "padded[tuple(slice(side) for side in sides)]",
        "padded[tuple(slice(side) for side in sides[::-1])]",
        GRID,
    ),
    (
        "modalities-edge-of-patches",
        "modalities/grid.py",
        "np.pad(inside, padding)",
        'np.pad(inside, padding, mode="edge")',
        GRID,
    ),
    (
        "modalities-peak-of-psnr",
        "modalities/image/pixels.py",
        "math.log10(255**2 / error)",
        "math.log10(256**2 / error)",
        IMAGE,
    ),
    (
        "modalities-turned-the-other-way",
        "modalities/image/files.py",
        "6: Image.Transpose.ROTATE_270",
        "6: Image.Transpose.ROTATE_90",
        IMAGE,
    ),
    (
        "modalities-transparency-unchecked",
        "modalities/image/files.py",
        "if not opaque:",
        "if False:",
        IMAGE,
    ),
    (
        "modalities-side-unchecked",
        "modalities/image/files.py",
        "if max(image.size) > MAX_SIDE:",
        "if min(image.size) > MAX_SIDE:",
        IMAGE,
    ),
    (
        "atomic-existing-file-replaced",
        "atomic.py",
        "if path.exists() and not force:",
        "if False:",
        IMAGE,
    ),
    (
        "results-length-unchecked",
        "results/files.py",
        'if len(numbers["y"]) != n or {',
        "if {",
        RESULTS,
    ),
    (
        "results-infinite-numbers",
        "results/files.py",
        "if not all(map(math.isfinite, numbers[key])):",
        "if any(map(math.isnan, numbers[key])):",
        RESULTS,
    ),
    (
        "results-rate-not-logarithmic",
        "results/rate_curves.py",
        "np.interp(math.log(bpp), np.log(rates), quality)",
        "np.interp(bpp, rates, quality)",
        "tests/results/test_rate_curves.py",
    ),
    (
        "results-anchor-swapped",
        "results/rate_curves.py",
        "math.exp(means[0] - means[1])",
        "math.exp(means[1] - means[0])",
        "tests/results/test_rate_curves.py",
    ),
    # samplers
    (
        "samplers-rejection-biased",
        "samplers/rejection.py",
        "pair.log_ratio_max() - chunk.log_ratio",
        "pair.log_ratio_max() - chunk.log_ratio - 0.2",
        STATISTICS,
    ),
    (
        "samplers-a-star-stops-early",
        "samplers/a_star.py",
        "pair.log_ratio_max() - log_time < best",
        "pair.log_ratio_max() - log_time - 1 < best",
        STATISTICS,
    ),
    (
        "samplers-gprs-wrong-time",
        "samplers/gprs.py",
        "(reached > t)",
        "(reached > 1.25 * t)",
        STATISTICS,
    ),
    (
        "samplers-greedy-level",
        "samplers/greedy_rejection.py",
        "chance = jnp.log(excess) - jnp.log(mass)",
        "chance = jnp.log(excess) - 0.8 * jnp.log(mass)",
        STATISTICS,
    ),
    (
        "samplers-minimal-noise-sign",
        "samplers/global_coder.py",
        "score = chunk.log_ratio - log_noise",
        "score = chunk.log_ratio + log_noise",
        STATISTICS,
    ),
    (
        "samplers-ordered-noise",
        "samplers/ordered_random.py",
        "self.limit - chunk.index.astype(jnp.int32)",
        "self.limit - chunk.index.astype(jnp.int32) // 2",
        STATISTICS,
    ),
    (
        "samplers-private-noise",
        "samplers/poisson_private.py",
        "chunk.log_ratio - log_time - noise / self.alpha",
        "chunk.log_ratio - log_time - noise",
        "tests/samplers/test_poisson_private.py",
    ),
    (
        "samplers-cap-unchecked",
        "samplers/global_coder.py",
        'check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)',
        'check_range("max_steps", self.max_steps, 0, (1 << 31) - 1)',
        CONTRACT,
    ),
    (
        "samplers-status-swapped",
        "samplers/global_coder.py",
        "jnp.where(found, Status.DONE, Status.MAX_STEPS)",
        "jnp.where(found, Status.MAX_STEPS, Status.DONE)",
        CONTRACT,
    ),
    (
        "devices-results-everywhere",
        "parallel/batches.py",
        "home = NamedSharding(sharding.mesh, PartitionSpec(first))",
        "home = NamedSharding(sharding.mesh, PartitionSpec())",
        SHARDING,
    ),
    (
        "devices-gather-explicit-axes",
        "parallel/explicit.py",
        "names.setdefault(k, name)",
        "names.setdefault(k, None)",
        SHARDING,
    ),
    (
        "samplers-cap-off-by-one",
        "samplers/_search/candidate_search.py",
        "verdict.stopped & (steps <= rule.cap)",
        "verdict.stopped & (steps < rule.cap)",
        CONTRACT,
    ),
    (
        "samplers-carry-of-times",
        "samplers/_search/arrivals.py",
        "c = c + (b >> 16)",
        "c = c",
        STATISTICS,
    ),
    (
        "samplers-stretch-nodes",
        "samplers/_search/stretch.py",
        "weights * 3 * nodes**2 * values",
        "weights * 3 * nodes * values",
        "tests/samplers/test_stretch.py",
    ),
    (
        "samplers-dyadic-cut",
        "samplers/_search/tree.py",
        "Node(heap, words.select(right, cut, self.low), words.select(right, self.high, cut))",
        "Node(heap, words.select(right, cut, self.low), words.select(right, cut, self.high))",
        TREES,
    ),
    (
        "samplers-time-of-a-child",
        "samplers/_search/frontier.py",
        "randomness.exponential(node.draws(keys[1])[0], dtype) / node.mass(dtype)",
        "randomness.exponential(node.draws(keys[1])[0], dtype) * node.mass(dtype)",
        TREES,
    ),
    (
        "samplers-shares-of-bins",
        "samplers/_search/partitioned_pair.py",
        "+ (step - 1), -1)[:, 0] <= weight",
        "+ (step - 1), -1)[:, 0] <= weight // 2",
        PARTITIONING,
    ),
    (
        "samplers-lanes-left-out",
        "samplers/_search/lanes.py",
        "load(share.following + rank - 1)",
        "load(share.following + rank)",
        CONTRACT,
    ),
    (
        "samplers-full-lanes-not-searched-again",
        "samplers/_search/lanes.py",
        "jnp.nonzero(codes.status == Status.QUEUE_FULL,",
        "jnp.nonzero(codes.status == Status.MAX_DEPTH,",
        RECORDED,
    ),
    (
        "samplers-node-lost-from-the-queue",
        "samplers/_search/queue.py",
        "full = right.kept & (lowest > -jnp.inf)",
        "full = right.kept & (lowest == jnp.inf)",
        RECORDED,
    ),
    (
        "samplers-dither-unshared",
        "samplers/hybrid.py",
        "jnp.clip(0.5 * (low + high) - 0.5 * length, 0, 1 - length)",
        "jnp.clip(0.5 * (low + high) - 0.3 * length, 0, 1 - length)",
        CHANNEL_CODERS,
    ),
    (
        "samplers-ring-toss-threshold",
        "samplers/_streams/ring_toss.py",
        "goes_on = index[lanes[active]] > start + i",
        "goes_on = index[lanes[active]] >= start + i",
        CHANNEL_CODERS,
    ),
    (
        "samplers-last-node-of-a-path",
        "samplers/_streams/heap.py",
        "columns = _BITS + 1 - depths[:, None]",
        "columns = _BITS - depths[:, None]",
        STREAMS,
    ),
    (
        "samplers-strings-of-any-coder",
        "samplers/_streams/index_stream.py",
        "if data[1] != number_of(coder):",
        "if False:",
        STREAMS,
    ),
    (
        "samplers-strings-of-any-setting",
        "samplers/_streams/index_stream.py",
        "crc_hqx(body + known, 0xFFFF)",
        "crc_hqx(body, 0xFFFF)",
        STREAMS,
    ),
    (
        "samplers-strings-of-vectors-mean-block",
        "samplers/vector_coder.py",
        "budget_exponent(parts // plan.indices, plan.index_bits)",
        "budget_exponent(parts, plan.index_bits)",
        STREAMS,
    ),
    # blocks
    (
        "blocks-noise-of-the-rest",
        "blocks/ordered_random.py",
        "jnp.cumsum(draws * (n / jnp.arange(n, 0, -1, dtype=dtype)))",
        "jnp.cumsum(draws)",
        BLOCKS,
    ),
    (
        "blocks-square-of-the-score",
        "blocks/slot_search.py",
        "[0.5 - 0.5 * precision, mu * precision",
        "[0.5 - 0.4 * precision, mu * precision",
        BLOCKS,
    ),
    (
        "blocks-sigma-unchecked",
        "blocks/posteriors.py",
        "jnp.isfinite(mu) & jnp.isfinite(sigma) & (sigma > 0)",
        "jnp.isfinite(mu) & jnp.isfinite(sigma)",
        BLOCKS,
    ),
    (
        "blocks-register",
        "blocks/trellis_decoder.py",
        "return register & ((1 << self.budget) - 1)",
        "return register & ((1 << self.budget) - 2)",
        TRELLIS,
    ),
    (
        "blocks-steps-swapped",
        "blocks/trellis_decoder.py",
        "return self.budget // 2, self.budget - self.budget // 2",
        "return self.budget // 2, self.budget // 2",
        TRELLIS,
    ),
    # codec
    (
        "codec-checksum-of-the-prefix",
        "codec/container.py",
        "zlib.crc32(body + digest)",
        "zlib.crc32(body + digest[:3])",
        CONTAINER,
    ),
    (
        "codec-varint-shift",
        "codec/varint.py",
        "(byte & 127) << 7 * i",
        "(byte & 127) << 8 * i",
        CONTAINER,
    ),
    (
        "codec-sides-unchecked",
        "codec/header.py",
        "all(1 <= side <= modality.max_side for side in self.shape)",
        "all(0 <= side <= modality.max_side for side in self.shape)",
        CONTAINER,
    ),
    (
        "staged-sees-the-next-stage",
        "codec/staged/lattice.py",
        "3: (-1, 1, -2, 2, -3, 3, -5, 5),",
        "3: (-1, 1, -2, 2, -3, 3, -4, 5),",
        STAGED,
    ),
    (
        "staged-one-frame-late",
        "codec/staged/lapped.py",
        "return halves.reshape(channels, -1)[:, cell : cell + length]",
        "return halves.reshape(channels, -1)[:, :length]",
        STAGED,
    ),
    (
        "container-segments-change-places",
        "codec/segments.py",
        'zlib.crc32(number.to_bytes(4, "big") + part + digest)',
        'zlib.crc32((0 * number).to_bytes(4, "big") + part + digest)',
        CONTAINER,
    ),
    (
        "container-last-segment-as-long-as-others",
        "codec/header.py",
        "first = min(self.segment, self.shape[0] - number * self.segment)",
        "first = self.segment",
        CONTAINER,
    ),
    (
        "codec-corner-places",
        "codec/corners.py",
        "behind = place >= factor",
        "behind = place > factor",
        "tests/codec/siren/test_upsampler.py",
    ),
    (
        "codec-shift-across-patches",
        "codec/siren/layout.py",
        "inverse.append(start + (slot - shift) % count)",
        "inverse.append(start + (slot + shift) % count)",
        "tests/codec/siren/test_layout.py",
    ),
    (
        "codec-regions-in-a-row",
        "codec/siren/layout.py",
        "np.ravel_multi_index(parent, along)",
        'np.ravel_multi_index(parent, along, order="F")',
        "tests/codec/siren/test_layout.py",
    ),
    (
        "codec-phases-by-columns",
        "codec/siren/upsampler.py",
        "parity = (phase >> (rank - 1 - axis)) & 1",
        "parity = (phase >> axis) & 1",
        "tests/codec/siren/test_upsampler.py",
    ),
    (
        "codec-coded-latents-move",
        "codec/siren/fit.py",
        "p - rate * f * u",
        "p - rate * u",
        "tests/codec/siren/test_fit.py",
    ),
    (
        "codec-index-after-in-the-chain",
        "blocks/samples.py",
        "np.roll(index, 1, axis)",
        "np.roll(index, -1, axis)",
        "tests/codec/test_coding.py",
    ),
    (
        "codec-kl-of-a-posterior",
        "codec/siren/posterior.py",
        "self.mean**2 - 1) - self.log_std",
        "self.mean**2 - 1) + self.log_std",
        "tests/codec/siren/test_posterior.py",
    ),
    (
        "codec-refitted-variance",
        "codec/siren/posterior.py",
        "(jnp.exp(2 * posterior.log_std) + moved**2)",
        "(jnp.exp(2 * posterior.log_std) + posterior.mean**2)",
        "tests/codec/siren/test_posterior.py",
    ),
    (
        "codec-half-the-price",
        "codec/siren/objective.py",
        "jnp.sum(b * f * q.kl_nats())",
        "jnp.sum(b * f * q.kl_nats()) / 2",
        "tests/codec/siren/test_objective.py",
    ),
    (
        "codec-blocks-rounded-down",
        "codec/transform/layout.py",
        "(units + budget * UNIT // 2) // (budget * UNIT)",
        "units // (budget * UNIT)",
        "tests/codec/transform/test_layout.py",
    ),
    (
        "codec-units-of-a-factor",
        "codec/transform/layout.py",
        "(units.astype(np.int64) * rate_factor + FACTOR_UNIT // 2) // FACTOR_UNIT, 1, MOST",
        "(units.astype(np.int64) * rate_factor + FACTOR_UNIT // 2) // FACTOR_UNIT, 0, MOST",
        "tests/codec/transform/test_layout.py",
    ),
    (
        "codec-context-of-a-class",
        "codec/transform/rate_classes.py",
        "2 * total // np.maximum(count, 1)",
        "total",
        "tests/codec/transform/test_rate_classes.py",
    ),
    (
        "codec-width-of-a-stretched-posterior",
        "codec/transform/sinh_prior.py",
        "(scale * jnp.cosh(tail * centre))",
        "(scale * jnp.sinh(tail * centre))",
        "tests/codec/transform/test_sinh_prior.py",
    ),
    (
        "codec-diverged-training",
        "codec/training/loop.py",
        "if not np.isfinite(report).all():",
        "if False:",
        "tests/codec/siren/test_training.py",
    ),
    (
        "codec-patches-of-a-folder",
        "codec/training/data.py",
        "rng.integers(n - side + 1) for n, side",
        "rng.integers(n - side) for n, side",
        "tests/codec/training/test_data.py",
    ),
    (
        "codec-larger-than-wanted",
        "codec/targets.py",
        "return measure <= value if self.ceiling else measure >= value",
        "return measure <= 1.2 * value if self.ceiling else measure >= value",
        "tests/codec/test_rate_control.py",
    ),
    (
        "codec-worse-than-wanted",
        "codec/targets.py",
        "return measure <= value if self.ceiling else measure >= value",
        "return measure <= value if self.ceiling else measure >= value - 1",
        "tests/codec/test_rate_control.py",
    ),
    (
        "codec-nan-is-coded",
        "codec/encoding.py",
        "if not np.isfinite(grid.values).all():",
        "if np.isinf(grid.values).any():",
        "tests/modalities/test_contract.py",
    ),
    # commands, bench
    (
        "commands-input-replaced",
        "commands/shared.py",
        "and source.samefile(out)",
        "and False",
        "tests/commands/test_cli.py",
    ),
    (
        "commands-seed-off-by-one",
        "commands/compress.py",
        "not 0 <= seed < 2**32:",
        "not 0 <= seed <= 2**32:",
        "tests/commands/test_cli.py",
    ),
    (
        "commands-bits-of-a-file",
        "commands/info.py",
        '"payload_bits": 8 * len(payload)',
        '"payload_bits": len(payload)',
        "tests/commands/test_cli.py",
    ),
    (
        "commands-exit-code",
        "cli.py",
        "return _fail(str(error), 1)",
        "return _fail(str(error), 0)",
        "tests/commands/test_cli.py",
    ),
    (
        "bench-best-of-a-turn",
        "bench/timing.py",
        "times[name].append(min(timed(run) for _ in range(runs)))",
        "times[name].append(max(timed(run) for _ in range(runs)))",
        "tests/bench/test_timing.py",
    ),
    (
        "bench-divergence-of-targets",
        "bench/samplers.py",
        "np.sqrt(1 - s * s + 2 * np.log(jitter))",
        "np.sqrt(1 - s * s - 2 * np.log(jitter))",
        "tests/bench/test_timing.py",
    ),
    # vectors
    (
        "vectors-half-of-the-signs",
        "blocks/vector_layout.py",
        "signs = jnp.where(place & 32 == 0, low, high) >> (place & 31)",
        "signs = jnp.where(place & 32 == 0, low, low) >> (place & 31)",
        VECTORS,
    ),
    (
        "vectors-same-rows",
        "blocks/vector_layout.py",
        "return first % jnp.uint32(layout.columns), mask & rows",
        "return first % jnp.uint32(layout.columns), 0 * mask & rows",
        LAYOUT,
    ),
    (
        "vectors-off-by-one-block",
        "blocks/vector_layout.py",
        "group = (coordinate % turns + turn(call, layout, number)) % turns",
        "group = (coordinate % turns + turn(call, layout, number) + 1) % turns",
        LAYOUT,
    ),
    (
        "vectors-few-candidates",
        "blocks/vector_layout.py",
        "return -(-parts // PARTS) + extra_bits if parts else 0",
        "return parts // PARTS + extra_bits if parts else 0",
        LAYOUT,
    ),
    (
        "vectors-blocks-of-nothing",
        "blocks/vector_layout.py",
        "if blocks <= d else None",
        "if blocks <= d + 2 else None",
        LAYOUT,
    ),
    (
        "vectors-wrong-sigma",
        "blocks/vector_scores.py",
        "precision = 1 / (s * s)",
        "precision = 1 / s",
        VECTORS,
    ),
    (
        "vectors-no-race-noise",
        "blocks/vector_search.py",
        "score = log_ratio + noise.at(row ^ mask[None])",
        "score = log_ratio",
        VECTORS,
    ),
    (
        "vectors-noise-of-the-row",
        "blocks/vector_search.py",
        "score = log_ratio + noise.at(row ^ mask[None])",
        "score = log_ratio + noise.at(row)",
        VECTORS,
    ),
    (
        "vectors-squares-forgotten",
        "blocks/vector_scores.py",
        "lambda: scores + _product(z * z, self.square[slab]), lambda: scores",
        "lambda: scores + 0 * _product(z * z, self.square[slab]), lambda: scores",
        VECTORS,
    ),
    (
        "vectors-invalid-is-done",
        "samplers/_search/vectors.py",
        "status = jnp.where(invalid, Status.INVALID, status).astype(jnp.int32)",
        "status = jnp.where(invalid, status, status).astype(jnp.int32)",
        VECTORS,
    ),
    (
        "vectors-calls-alike",
        "samplers/_search/vectors.py",
        "return jnp.asarray(value.astype(np.uint32))",
        "return jnp.asarray(0 * value.astype(np.uint32))",
        VECTORS,
    ),
    (
        "vectors-greedy-path",
        "blocks/vector_trellis.py",
        "return start + jnp.argmax(here + after).astype(jnp.uint32)",
        "return start + jnp.argmax(here + 0 * after).astype(jnp.uint32)",
        VECTORS,
    ),
    (
        "vectors-register-of-one-block",
        "blocks/vector_trellis_layout.py",
        "for back in range(-(-bits.register // b)):",
        "for back in range(1):",
        VECTORS,
    ),
    (
        "vectors-windows-forget-the-register",
        "blocks/vector_trellis.py",
        "return after[decided - 1], after & ((1 << bits.block) - 1)",
        "return register, after & ((1 << bits.block) - 1)",
        VECTORS,
    ),
    # many categories
    (
        "categorical-rare-ones-lifted",
        "distributions/categorical.py",
        "_MANY = 256 ",
        "_MANY = 1 << 30 ",
        CATEGORICAL,
    ),
    (
        "categorical-search-one-early",
        "distributions/categorical.py",
        'place, side="right"',
        'place, side="left"',
        CATEGORICAL,
    ),
    # priors of centres
    (
        "centres-offset-shifted",
        "samplers/_streams/centres.py",
        "(middle - nearest + 0.5) * _OFFSETS",
        "(middle - nearest + 0.3) * _OFFSETS",
        CENTRES,
    ),
    (
        "centres-nothing-beyond",
        "samplers/_streams/centres.py",
        "ends[far] * EliasDelta()",
        "0 * ends[far] * EliasDelta()",
        CENTRES,
    ),
    # private chunks
    (
        "chunks-share-their-randomness",
        "samplers/private_chunks.py",
        "numbers = jnp.arange(chunks, dtype=jnp.uint32)",
        "numbers = 0 * jnp.arange(chunks, dtype=jnp.uint32)",
        PRIVATE,
    ),
    (
        "chunks-epsilon-without-the-root",
        "limits/privacy.py",
        "math.sqrt(2 * chunks * math.log(2 * chunks / delta))",
        "math.sqrt(2 * math.log(2 * chunks / delta))",
        PRIVATE,
    ),
    # selection
    (
        "select-bound-too-small",
        "samplers/select.py",
        "return self.target.log_bound\n",
        "return self.target.log_bound - 0.5\n",
        SELECT,
    ),
    (
        "select-weight-of-the-next",
        "samplers/select.py",
        "log_weights.at[x].get",
        "log_weights.at[x + 1].get",
        SELECT,
    ),
    # accelerators
    (
        "tiles-of-the-cpu-everywhere",
        "blocks/tiles.py",
        "products=Products(most, _DEVICE_TILE)",
        "products=Products(most, TILE)",
        LOWERING,
    ),
    # what newcomers run into
    (
        "traps-small-bound-is-done",
        "samplers/_search/candidate_search.py",
        "jnp.where(above, Status.BOUND_TOO_SMALL, progress.status)",
        "jnp.where(~above, progress.status, progress.status)",
        TRAPS,
    ),
    (
        "traps-number-without-search",
        "samplers/base.py",
        "jnp.where(status == Status.INVALID, jnp.asarray(nothing, sample.dtype), sample)",
        "jnp.where(status == Status.QUEUE_FULL, jnp.asarray(nothing, sample.dtype), sample)",
        TRAPS,
    ),
    (
        "distributions-mixture-variance-within",
        "distributions/uniform_mixture.py",
        "(inside + jnp.square(apart))",
        "(inside + 0 * jnp.square(apart))",
        MOMENTS,
    ),
    # sound
    (
        "audio-levels-rounded-down",
        "modalities/audio/files.py",
        "file.write(rounded(run, bits) if bits else run)",
        "file.write(run)",
        AUDIO,
    ),
    (
        "audio-scale-of-loud-samples",
        "modalities/audio/samples.py",
        "np.ldexp(values, meta.scale)",
        "np.ldexp(values, min(meta.scale, 1))",
        AUDIO,
    ),
)

MUTANTS = tuple(Mutant(name, f"recjax/{file}", *rest) for name, file, *rest in _ROWS)
