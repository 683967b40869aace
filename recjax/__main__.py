"""``python -m recjax``."""

from recjax.cli import run

if __name__ == "__main__":
    run()
