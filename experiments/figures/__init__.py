"""Figures of the thesis and its papers: each a module with ``figure(full, point) -> Results``.

python -m experiments.figures [NAMES ...] [--full]
"""
