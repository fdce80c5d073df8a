"""Trains a classifier, or goes on with a run that was cut short.

python -m jaxall.train --config configs/densenet201.py --workdir runs/a --config.train.epochs=10
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from absl import flags
from etils import epy
from rich import console as rich_console

from jaxall import cli, config_flag
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    import jax
    from jax.experimental import multihost_utils

    from jaxall import assembly, folds, learners, models, probing, runlog, runtime, trained, workdir
    from jaxall import config as config_lib
    from jaxall.data import keeping, pipeline
    from jaxall.evaluation import scores
    from jaxall.reporting import progress
    from jaxall.training import checkpoints, infer, loop, optim, parallel, plan, state, watch
    from jaxall.weights import initial

_CONFIG = config_flag.define()
flags.declare_key_flag("config")
_WORKDIR = flags.DEFINE_string("workdir", "", "the run's folder; runs/NAME of the config if empty")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", "", "host:port of process 0 of a multi-host run, or 'auto' on a TPU pod"
)
_PROCESSES = flags.DEFINE_integer("processes", 1, "number of processes of a multi-host run")
_PROCESS = flags.DEFINE_integer("process", 0, "index of this process")
_FOLDS = flags.DEFINE_bool("folds", False, "train and score a run for each fold of the split")
_PROBE = flags.DEFINE_bool("probe-batch", False, "only say how large a batch fits; writes nothing")


def train(
    config: config_lib.Config,
    folder: pathlib.Path,
    console: rich_console.Console,
    watch_for_stop: Callable[[], Callable[[int], bool]] = lambda: lambda step: False,
) -> None:
    """The story of a run, from a config to its last checkpoint.

    Args:
        config: validated.
        folder: of the run; it goes on where it was cut short.
        console: where progress is shown.
        watch_for_stop: called before the first step; its answer is asked after every step
            whether to save and stop.

    Raises:
        UserError: the settings, the pictures, the weights or the folder are not as they must be,
            or the loss is no longer finite.
        loop.Terminated: it was asked to stop.
    """
    # What is learned, and from what.
    parallel.check_batch_size(config.train.batch_size, config.train.accumulate)
    material = assembly.open_or_begin(config, folder, console)
    spec, class_names = models.find(config.model.name), material.data_set.class_names
    sources = material.source("train"), material.source("validation")
    source, validation = keeping.keep(sources, config.loader)
    draws = material.draws(config.balance)
    length = plan.Plan(
        examples=draws.epoch, batch_size=config.train.batch_size, epochs=config.train.epochs
    )

    # The network, its step, and the state they start from or had come to.
    learner = learners.of(
        config, material.preprocessing, len(class_names), length, draws.class_counts
    )
    predictor = infer.Predictor(learner.module.apply, material.preprocessing.normalise)
    spread = parallel.Spread(config.train.parallel)
    store = checkpoints.Checkpoints(folder, spread)
    with contextlib.ExitStack() as undo:  # the store must not stay open behind a refusal
        undo.enter_context(store)
        if store.latest is None:
            current = spread.start(learner.create, _initial_weights(config, spec, console))
        else:
            current = store.restore(jax.eval_shape(learner.create))
        undo.pop_all()
    start = int(current.step)

    # Epochs: train, validate, write down, keep.
    log = runlog.RunLog(folder, config, console, optim.learning_rate(config.optim, length), start)
    log.header(material, length, draws, keeping.report(sources, config.loader))
    batches = pipeline.train_batches(
        source,
        transforms=config.augmentation,
        batch_size=config.train.batch_size,
        seed=config.seed,
        order=draws.order(batch_size=length.batch_size, seed=config.seed),
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        settings=config.loader,
    )
    with store, batches, log:
        run = loop.Loop(
            step=spread.compile(learner.step),
            spread=spread,
            batches=batches,
            store=store,
            watch=watch.Watch(config.train.log_every, log.step),
            batch_size=length.batch_size,
            checkpoint_every=config.train.checkpoint_every,
            must_stop=watch_for_stop(),  # before the first step there is nothing to save
        )
        for number, end in enumerate(length.epoch_ends(), 1):
            if end <= start:
                continue
            begun, first = time.monotonic(), int(current.step)
            pictures = (end - first) * length.batch_size
            label = f"epoch {number}" if first > start else f"epoch {number}, compiling first"
            with progress.bar(console, label, pictures, "images") as report:
                current, waited = run.run(current, end, report)
            seconds = time.monotonic() - begun
            tally = jax.device_get(current.tally)
            empty = spread.place(state.empty_tally(len(class_names)))
            current = dataclasses.replace(current, tally=empty)
            judged = trained.predict(
                predictor,
                {"params": current.params, "batch_stats": current.batch_stats},
                validation,
                names=material.names("validation"),
                subjects=material.subjects("validation"),
                class_names=class_names,
                settings=config.loader,
            )
            found = scores.from_predictions(judged)
            record = {
                "epoch": min(number, config.train.epochs),
                **runlog.of_training(tally, class_names),
                **runlog.flat("validation", found),
                **runlog.of_time(seconds, waited, pictures),
            }
            log.epoch(end, record)
            store.save(current, end, {"score": found[config.train.best_by], "loss": found["loss"]})
    log.footer(store.best)


def cross_validate(
    config: config_lib.Config,
    folder: pathlib.Path,
    console: rich_console.Console,
    watch_for_stop: Callable[[], Callable[[int], bool]] = lambda: lambda step: False,
) -> None:
    """Trains and scores a run for each fold, in folders of their own, and sums them up.

    Raises:
        UserError: as `train`, the split has no folds, or there are several hosts.
        loop.Terminated: it was asked to stop.
    """
    if jax.process_count() > 1:
        raise UserError(
            "--folds is for one host: start each fold of a pod's runs with --config.split.fold=K"
        )
    configs = folds.configs(config)
    for fold, own in enumerate(configs):
        target, label = folds.folder_of(folder, fold), f"fold {fold} ({fold + 1} of {len(configs)})"
        if folds.is_scored(target, own):
            console.print(f"{label}: done before, in {target}", soft_wrap=True)
            continue
        console.print(label)
        train(own, target, console, watch_for_stop)
        folds.score(target, console)
    folds.show(folds.summarise(folder, len(configs)), folder, console)


def _initial_weights(
    config: config_lib.Config, spec: models.ModelSpec, console: rich_console.Console
) -> Any:
    official = models.official(spec, config.model.init)
    with progress.download_bar(console, official.file if official else "") as report:
        return initial.load(config.model.init, spec, runtime.cache_dir(), report)


class StopRequests:
    """SIGTERM or Ctrl-C: the step under way is finished, and the state saved.

    Attributes:
        exit_code: 128 and the signal's number, once one has come.
    """

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGTERM
        self._asked = threading.Event()  # one for all folds: between two runs nothing is lost

    def watch(self) -> Callable[[int], bool]:
        """Whether to stop; the hosts of a pod agree on the step after which they do."""
        asked = self._asked

        def ask(number: int, _frame: object) -> None:
            self.exit_code = 128 + number
            asked.set()
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                print("stopping after this step; Ctrl-C again: at once", file=sys.stderr)

        def agree(step: int) -> bool:
            if multihost_utils.reached_preemption_sync_point(step):  # true at that one step only
                asked.set()
            return asked.is_set()

        if jax.process_count() > 1:
            return agree
        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)
        return lambda step: asked.is_set()


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if arguments:
        raise UserError(f"train takes flags only; got {' '.join(arguments)}")
    config = _CONFIG.value
    config.validate()
    runtime.configure()
    runtime.join_hosts(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    folder = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / config.name)
    is_first = jax.process_index() == 0
    console = cli.console(is_quiet=not is_first)
    if _PROBE.value:
        probing.largest_batch(config, console)
        return 0
    requests = StopRequests()
    try:
        with workdir.locked(folder) if is_first else contextlib.nullcontext():
            if _FOLDS.value:
                cross_validate(config, folder, console, requests.watch)
            else:
                train(config, folder, console, requests.watch)
    except loop.Terminated:
        console.print("stopped as asked; the state is saved, the same command goes on from it")
        return requests.exit_code
    return 0


if __name__ == "__main__":
    cli.run(main, config_flag.check)
