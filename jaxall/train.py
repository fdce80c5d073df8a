"""Trains a classifier, or goes on with a run that was cut short.

python -m jaxall.train --config configs/densenet201.py --workdir runs/a --config.train.epochs=10
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable

from absl import flags
from etils import epy
from rich import console as rich_console

from jaxall import cli, config_flag
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    import jax

    from jaxall import config as config_lib
    from jaxall import runtime, stopping
    from jaxall.data import keeping
    from jaxall.reporting import progress
    from jaxall.runs import (
        assembly,
        folds,
        judging,
        learners,
        probing,
        rate_finder,
        reading,
        runlog,
        workdir,
    )
    from jaxall.training import checkpoints, infer, loop, parallel, plan, plateau, state, watch

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
_FIND = flags.DEFINE_bool("find-lr", False, "only look for a learning rate; trains no further")


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
    class_names = material.data_set.class_names
    sources = material.source("train"), material.source("validation")
    source, validation = keeping.keep(sources, config.loader)
    draws = material.draws(config.balance)
    length = plan.Plan(
        examples=draws.epoch, batch_size=config.train.batch_size, epochs=config.train.epochs
    )

    # The network, its steps, and the state they start from or had come to.
    learner = learners.of(
        config, material.preprocessing, len(class_names), length, draws.class_counts
    )
    predictor = infer.Predictor(learner.module.apply, material.preprocessing.normalise)
    spread = parallel.Spread(config.train.parallel)
    store = checkpoints.Checkpoints(folder, spread)
    current = _begun(config, learner, spread, store, console)
    start = int(current.step)

    # Epochs: train, validate, write down, keep.
    judge = judging.Judge(
        config, folder, material, validation, predictor, start, length.epoch_ends()
    )
    log = runlog.RunLog(folder, config, console, learner.rate, start)
    memory = keeping.report(sources, config.loader)
    is_over = start == length.steps or judge.stopped is not None
    log.header(material, length, draws, [memory, *learner.describe()], is_over=is_over)
    batches = learners.batches(config, source, draws, start)
    with store, batches, log:
        run = loop.Loop(
            step_at=learner.steps(spread),
            spread=spread,
            batches=batches,
            store=store,
            watch=watch.Watch(config.train.log_every, log.step),
            batch_size=length.batch_size,
            checkpoint_every=config.train.checkpoint_every,
            must_stop=watch_for_stop(),  # before the first step there is nothing to save
        )
        for number, end in enumerate(length.epoch_ends(), 1):
            if end <= start or judge.stopped:
                continue
            log.scale, first = plateau.scale_of(current.opt_state), int(current.step)
            label = f"epoch {number}" if first > start else f"epoch {number}, compiling first"
            with progress.bar(console, label, (end - first) * length.batch_size, "images") as bar:
                current, epoch = run.epoch(current, end, bar)
            found = judge(current)
            log.epoch(end, number, epoch, class_names, found, learner.compiles(first, end, start))
            current = judge.react(current, found, spread)
            store.save(current, end, judge.rank(found))
    log.ended(judge.stopped, is_new=not is_over)
    log.footer(store.best)


def _begun(
    config: config_lib.Config,
    learner: learners.Learner,
    spread: parallel.Spread,
    store: checkpoints.Checkpoints,
    console: rich_console.Console,
) -> state.TrainState:
    """The newest state of the run, or the one that it starts from."""
    with contextlib.ExitStack() as undo:  # the store must not stay open behind a refusal
        undo.enter_context(store)
        if store.latest is None:
            current = spread.start(learner.create, learners.initial_weights(config, console))
        else:
            current = store.restore(jax.eval_shape(learner.create))
        undo.pop_all()
    return current


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
    configs, pictures = folds.configs(config), reading.Reading(config, console)
    for fold, own in enumerate(configs):  # what can't be split is told before hours of training
        # The audits of all folds say nearly the same.
        heard = console if fold == 0 else cli.console(is_quiet=True)
        assembly.open_or_begin(own, folds.folder_of(folder, fold), heard, pictures)
    for fold, own in enumerate(configs):
        target, label = folds.folder_of(folder, fold), f"fold {fold} ({fold + 1} of {len(configs)})"
        if folds.is_scored(target, own):
            console.print(f"{label}: done before, in {target}", soft_wrap=True)
            continue
        console.print(label)
        with workdir.locked(target):
            train(own, target, console, watch_for_stop)
            folds.score(target, console)
    folds.show(folds.summarise(folder, len(configs)), folder, console)


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
    chosen = [flag.name for flag in (_PROBE, _FIND, _FOLDS) if flag.value]
    if len(chosen) > 1:
        raise UserError(f"wanted one of --{', --'.join(chosen)} at a time")
    if _PROBE.value:
        probing.largest_batch(config, console)
        return 0
    requests = stopping.StopRequests()
    try:
        with workdir.locked(folder) if is_first else contextlib.nullcontext():
            if _FIND.value:
                rate_finder.learning_rate(config, folder, console)
            elif _FOLDS.value:
                cross_validate(config, folder, console, requests.watch)
            else:
                train(config, folder, console, requests.watch)
    except loop.Terminated:
        console.print("stopped as asked; the state is saved, the same command goes on from it")
        return requests.exit_code
    return 0


if __name__ == "__main__":
    cli.run(main, config_flag.check)
