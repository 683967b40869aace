"""The codec: priors, posteriors, blocks, files."""

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Encoding": "encoding",
    "Prior": "prior",
    "StagedTraining": "staged.settings",
    "TrainConfig": "siren.settings",
    "TransformTraining": "transform.settings",
    "compress": "compression",
    "compress_batch": "compression",
    "decompress": "decoding",
    "decompress_batch": "decoding",
    "embedded_priors": "prior_files",
    "embedded_with": "prior_files",
    "encode": "compression",
    "encode_all": "compression",
    "encode_batch": "encoding",
    "load_prior": "prior_files",
    "load_training_images": "training.data",
    "load_whole_images": "training.data",
    "train_prior": "siren.training",
    "train_staged": "staged.training",
    "train_transform": "transform.training",
}

if TYPE_CHECKING:
    from recjax.codec.compression import compress as compress
    from recjax.codec.compression import compress_batch as compress_batch
    from recjax.codec.compression import encode as encode
    from recjax.codec.compression import encode_all as encode_all
    from recjax.codec.decoding import decompress as decompress
    from recjax.codec.decoding import decompress_batch as decompress_batch
    from recjax.codec.encoding import Encoding as Encoding
    from recjax.codec.encoding import encode_batch as encode_batch
    from recjax.codec.prior import Prior as Prior
    from recjax.codec.prior_files import embedded_priors as embedded_priors
    from recjax.codec.prior_files import embedded_with as embedded_with
    from recjax.codec.prior_files import load_prior as load_prior
    from recjax.codec.siren.settings import TrainConfig as TrainConfig
    from recjax.codec.siren.training import train_prior as train_prior
    from recjax.codec.staged.settings import StagedTraining as StagedTraining
    from recjax.codec.staged.training import train_staged as train_staged
    from recjax.codec.training.data import load_training_images as load_training_images
    from recjax.codec.training.data import load_whole_images as load_whole_images
    from recjax.codec.transform.settings import TransformTraining as TransformTraining
    from recjax.codec.transform.training import train_transform as train_transform


def __getattr__(name: str) -> Any:  # decoding loads no trainer, a trainer no encoder
    if name in _HOME:
        return getattr(importlib.import_module(f"recjax.codec.{_HOME[name]}"), name)
    raise AttributeError(f"module 'recjax.codec' has no attribute {name!r}")
