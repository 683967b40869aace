"""Checkpoints of a training run, and its learning curve."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, cast

from recjax.atomic import write_atomic

State = TypeVar("State")


@dataclasses.dataclass
class Checkpoints:
    """The latest state of a run in a folder, written by orbax: complete or not at all.

    Attributes:
        folder: the folder, which is made if it is missing.
        identity: text that tells runs apart: a run does not go on from the state of another.

    Raises:
        ValueError: the folder cannot be used, or holds another run.
    """

    folder: Path
    identity: str

    def __post_init__(self) -> None:
        import orbax.checkpoint as ocp

        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"checkpoint folder {self.folder} cannot be used: {error.strerror or error}"
            ) from None
        run = self.folder / "run.json"
        if not run.exists():
            write_atomic(run, self.identity.encode())
        elif run.read_text() != self.identity:
            raise ValueError(
                f"{self.folder} holds a run with other settings or data; "
                "remove it or choose another folder"
            )
        self._manager = ocp.CheckpointManager(self.folder.absolute(), options=options)
        self._args = ocp.args

    def restore(self, state: State) -> tuple[State, list[dict[str, Any]]]:
        """The latest checkpoint and its learning curve, or ``state`` and no curve if there is none.

        Raises:
            ValueError: the checkpoint is damaged.
        """
        step = self._manager.latest_step()
        if step is None:
            return state, []
        try:
            curve = json.loads((self.folder / "curve.json").read_text())
            restored = self._manager.restore(step, args=self._args.StandardRestore(state))
        except Exception:  # orbax and tensorstore raise many kinds for damaged data
            raise ValueError(
                f"the checkpoint in {self.folder} is damaged; remove the folder to start anew"
            ) from None
        return cast(State, restored), [point for point in curve if point["step"] <= step]

    def save(self, step: int, state: Any, curve: list[dict[str, Any]]) -> None:
        """Writes the state after ``step`` gradient steps, unless the folder holds it already.

        Raises:
            ValueError: it cannot be written; the previous checkpoint is still there.
        """
        if step == self._manager.latest_step():
            return
        write_atomic(self.folder / "curve.json", json.dumps(curve).encode(), force=True)
        try:
            self._manager.save(step, args=self._args.StandardSave(state))
            self._manager.wait_until_finished()
        except Exception as error:  # orbax and tensorstore raise many kinds
            raise ValueError(
                f"no checkpoint can be written to {self.folder}: "
                "its disk is full, or another run uses it"
            ) from error
