"""Learned multi-level transforms whose latents are relative-entropy coded."""
