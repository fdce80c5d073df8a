"""The TFDS builder of C-NMC 2019."""

from typing import ClassVar

import tensorflow_datasets as tfds

from jaxall.data import cnmc
from jaxall.data.tfds_builders import table


class Cnmc(table.TableBuilder):
    """Cells of acute lymphoblastic leukemia and normal ones, C-NMC 2019."""

    name = cnmc.NAME
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "The training and preliminary cells; the final ones are unlabelled."
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get C-NMC 2019 from the Cancer Imaging Archive (https://doi.org/10.7937/tcia.2019.dc64i46r) or
    from Kaggle (andrewmvd/leukemia-classification) and extract it; archives aren't read.
    The manual folder is the one with C-NMC_training_data/ (or training_data/) in it or below.
    """
    DESCRIPTION = """\
    Single cells segmented from microscopic images, on black and normalised in their stain: leukemic
    lymphoblasts and normal precursors, 450 x 450 pixels, of 118 subjects. The BMPs are stored as
    PNGs of the same pixels. The labels of the final test set were never published; it is the split
    "unlabelled".
    """
    HOMEPAGE = "https://doi.org/10.7937/tcia.2019.dc64i46r"
    BIBTEX = """\
    @misc{gupta2019all,
      title = {{ALL} Challenge dataset of {ISBI} 2019 ({C-NMC} 2019)},
      author = {Gupta, Anubha and Gupta, Ritu},
      publisher = {The Cancer Imaging Archive},
      year = {2019},
      doi = {10.7937/tcia.2019.dc64i46r}
    }
    """
    CLASS_NAMES = cnmc.CLASS_NAMES
