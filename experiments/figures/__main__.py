"""Runs figures: their numbers as JSON and CSV, their pictures as PNG and PDF.

    python -m experiments.figures                 # all, each within a few minutes
    python -m experiments.figures gprs --full     # one, at full scale

Beside NAME.json, in the form of `recjax.results`, are written NAME.csv with one row a point, NAME.png and NAME.pdf.
What is done is kept in .parts/, so that an interrupted run goes on where it was.
"""

import concurrent.futures
import sys

import tyro

from experiments.figures import runner

if __name__ == "__main__":
    try:
        runner.main(tyro.cli(runner.Args))
    except ValueError as error:
        sys.exit(f"error: {error}")
    except (KeyboardInterrupt, concurrent.futures.BrokenExecutor):
        sys.exit("stopped: the same command goes on from here")
