"""Pictures: where they lie, how they are split, augmented and fed. Never imports jax."""

import difflib

from jaxall import errors, files
from jaxall.data import ball, cnmc, dataset, folder, synthetic, tfds_source

# A module here is all that a new data set needs: NAME, and load(root) -> DataSet.
DATA_SETS = {module.NAME: module for module in (ball, synthetic, cnmc, folder, tfds_source)}


def load(settings: dataset.DataSettings) -> dataset.DataSet:
    """Reads the table of the data set that the settings name.

    Raises:
        UserError: no data set has that name, its folder isn't as it should be, or it has no class
            of the name `positive`.
    """
    if settings.name not in DATA_SETS:
        nearest = difflib.get_close_matches(settings.name, DATA_SETS, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        names = ", ".join(DATA_SETS)
        raise errors.UserError(f"no data set is called {settings.name!r}, there are {names}{hint}")
    data_set = DATA_SETS[settings.name].load(files.home(settings.root))
    return dataset.with_positive(data_set, settings.positive) if settings.positive else data_set
