"""One pass over the pictures of a config, which several runs may share."""

import functools

from rich import console as rich_console

from jaxall import config as config_lib
from jaxall import data as data_lib
from jaxall.data import checking, dataset, duplicates, prepared
from jaxall.reporting import progress


class Reading:
    """One pass over a config's pictures, made when it is first asked for."""

    def __init__(self, config: config_lib.Config, console: rich_console.Console) -> None:
        """Reads nothing yet."""
        self._config, self._console = config, console

    @functools.cached_property
    def pictures(self) -> tuple[dataset.DataSet, checking.Checked, duplicates.Duplicates]:
        """The table without the pictures that can't be read, what was seen of the others, copies.

        Raises:
            UserError: pictures are missing, can't be decoded, or aren't those that were prepared.
        """
        config, console = self._config, self._console
        data_set = data_lib.load(config.data)
        if data_set.note:
            console.print("note:", data_set.note, style="yellow", soft_wrap=True)
        most_bad = config.data.most_bad if config.data.on_bad_image == "quarantine" else None
        with progress.bar(console, "reading pictures", len(data_set.rows)) as report:
            checked = checking.check(data_set, most_bad=most_bad, progress=report)
        if checked.quarantined:
            data_set = dataset.require_every_class(data_set.without(checked.quarantined))
        if data_set.reader is None:
            prepared.require_untouched(data_set.root, checked.sha256(data_set))
        near = config.split.near_duplicate
        return data_set, checked, duplicates.find(data_set, checked, near_duplicate=near)
