"""Data parallelism over devices and processes. No other package builds a mesh.

A batch is divided among the devices; shared arrays are replicated. Without accelerators there is
one device, or the number in `XLA_FLAGS=--xla_force_host_platform_device_count`.
"""

from recjax.parallel.batches import cores, few_sizes, over_devices
from recjax.parallel.explicit import per_device
from recjax.parallel.training import (
    AXIS,
    SHARED,
    devices_for,
    divided,
    laid_out,
    on_parts,
    placed,
    total,
)

__all__ = [
    "AXIS",
    "SHARED",
    "cores",
    "devices_for",
    "divided",
    "few_sizes",
    "laid_out",
    "on_parts",
    "over_devices",
    "per_device",
    "placed",
    "total",
]
