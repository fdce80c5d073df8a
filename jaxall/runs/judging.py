"""What the validation side says of a state, and what follows from that for the rest of a run."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable
from typing import Any

from jaxall import config as config_lib
from jaxall.data import pipeline
from jaxall.errors import UserError
from jaxall.evaluation import scores
from jaxall.runs import assembly, trained
from jaxall.training import infer, journal, parallel, patience, plateau
from jaxall.training.state import TrainState


class Judge:
    """Scores states, and remembers the scores that decide.

    Args:
        config: of the run.
        folder: of the run, whose journal holds the scores so far.
        material: the pictures.
        validation: those of the validation side.
        predictor: the compiled network.
        start: step that the run goes on from.
        ends: the step with which each epoch ends.

    Raises:
        UserError: the journal lacks scores that early stopping counts.
    """

    def __init__(
        self,
        config: config_lib.Config,
        folder: pathlib.Path,
        material: assembly.Material,
        validation: pipeline.Source,
        predictor: infer.Predictor,
        start: int,
        ends: Iterable[int],
    ):
        self._config, self._material, self._predictor = config, material, predictor
        self._validation, self._by = validation, config.train.best_by
        # What lies behind the step that a run goes on from will be run, and written, again.
        self._history = [
            self._merit(record.get(f"validation_{self._by}"))
            for record in journal.read(folder, "epoch")
            if record["step"] <= start
        ]
        done = sum(end <= start for end in ends)
        if config.train.patience and len(self._history) < done:
            raise UserError(
                f"{folder / journal.FILE} has the scores of {len(self._history)} of the {done} "
                "epochs behind the run, and early stopping counts them: put it back, or begin in "
                "another --workdir"
            )

    @property
    def stopped(self) -> int | None:
        """The epoch after which the run has ended early, if it has."""
        settings = self._config.train
        staged = math.ceil(sum(stage.epochs for stage in settings.stages))
        return patience.stopped(self._history, settings.patience, staged)

    def __call__(self, state: TrainState) -> dict[str, Any]:
        """The scores of a state at the end of an epoch; its averages are judged if it has any."""
        material = self._material
        judged = trained.predict(
            self._predictor,
            state.variables,
            self._validation,
            names=material.names("validation"),
            subjects=material.subjects("validation"),
            class_names=material.data_set.class_names,
            settings=self._config.loader,
        )
        found = scores.from_predictions(judged)
        self._history.append(self._merit(found[self._by]))
        return found

    def rank(self, found: dict[str, Any]) -> dict[str, float]:
        """By which the best checkpoint is kept."""
        return {"score": scores.merit(self._by, found[self._by]), "loss": found["loss"]}

    def react(
        self, state: TrainState, found: dict[str, Any], spread: parallel.Spread
    ) -> TrainState:
        """The state to go on with after these scores: on a plateau its learning rate falls."""
        settings = self._config.optim
        opt_state = plateau.judged(
            state.opt_state,
            scores.merit(self._by, found[self._by]),
            patience=settings.plateau_patience,
            factor=settings.step_factor,
            place=spread.place,
        )
        return dataclasses.replace(state, opt_state=opt_state)

    def _merit(self, score: float | None) -> float | None:
        return None if score is None else scores.merit(self._by, score)
