"""The TFDS builder of any other table of pictures: one's own, or one without a builder."""

from typing import ClassVar

import tensorflow_datasets as tfds

from jaxall.data.tfds_builders import table


class Folder(table.TableBuilder):
    """Pictures in a folder, with their table."""

    name = "folder"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "The rows of the table, in their order."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    The manual folder is what data.root names for data.name=folder: pictures in one folder a class,
    or a table with the pictures that it names. Archives aren't read: extract them first.
    """
    DESCRIPTION = """\
    Pictures of one's own. metadata.json names the data set that they were, its classes, whom to
    cite and what to beware of.
    """
