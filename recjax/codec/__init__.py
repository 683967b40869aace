"""The codec: priors, posteriors, blocks, files."""

from recjax.codec.compression import compress, compress_batch
from recjax.codec.dataset import load_training_images, load_whole_images
from recjax.codec.decoding import decompress, decompress_batch
from recjax.codec.encoding import Encoded, encode_batch
from recjax.codec.prior import Prior, embedded_priors
from recjax.codec.prior_files import embedded_with, load_prior
from recjax.codec.rate_control import encode_at_rate
from recjax.codec.train_config import TrainConfig
from recjax.codec.training_run import train_prior
from recjax.codec.transform_config import TransformTraining
from recjax.codec.transform_training import train_transform

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
