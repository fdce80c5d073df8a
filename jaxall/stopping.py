"""Being asked to stop: by SIGTERM, by Ctrl-C, or by the other hosts of a pod."""

import signal
import sys
import threading
from collections.abc import Callable

import jax
from jax.experimental import multihost_utils


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
