"""Relative entropy coders: one algorithm per file, under the contract of `recjax.samplers.base`."""
