"""The codec: priors, posteriors, blocks, files."""

from recjax.codec.compression import compress, compress_batch
from recjax.codec.decoding import decompress, decompress_batch
from recjax.codec.encoding import Encoded, encode_batch
from recjax.codec.prior import Prior, embedded_priors
from recjax.codec.prior_files import embedded_with, load_prior
from recjax.codec.rate_control import encode_at_rate
from recjax.codec.siren.settings import TrainConfig
from recjax.codec.siren.training import train_prior
from recjax.codec.training.data import load_training_images, load_whole_images
from recjax.codec.transform.settings import TransformTraining
from recjax.codec.transform.training import train_transform

__all__ = [
    "Encoded",
    "Prior",
    "TrainConfig",
    "TransformTraining",
    "compress",
    "compress_batch",
    "decompress",
    "decompress_batch",
    "embedded_priors",
    "embedded_with",
    "encode_at_rate",
    "encode_batch",
    "load_prior",
    "load_training_images",
    "load_whole_images",
    "train_prior",
    "train_transform",
]
