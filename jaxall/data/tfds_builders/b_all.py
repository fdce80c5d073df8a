"""The TFDS builder of B-ALL; see `jaxall.data.ball`."""

from typing import ClassVar

import tensorflow_datasets as tfds

from jaxall.data import ball
from jaxall.data.tfds_builders import table


class BAll(table.TableBuilder):
    """B-ALL peripheral blood smears of Taleqani hospital."""

    name = ball.NAME
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "The 3,256 pictures of Original/, in order of class and number."
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get it from Kaggle and extract it; the zip itself isn't read:
    kaggle datasets download -d mehradaria/leukemia && unzip leukemia.zip -d FOLDER
    The manual folder is FOLDER, with Original/{Benign,Early,Pre,Pro}/WBC-*.jpg in it or below.
    """
    DESCRIPTION = """\
    Peripheral blood smears of 89 people suspected of acute lymphoblastic leukemia: 3,256 JPEGs of
    224 x 224 pixels in four classes, benign hematogones and three subtypes of malignant
    lymphoblasts. No picture names its patient, so no split of them separates patients. The authors
    ask not to pass the pictures on.
    """
    HOMEPAGE = "https://www.kaggle.com/datasets/mehradaria/leukemia"
    BIBTEX = """\
    @misc{aria2021acute,
      title = {Acute Lymphoblastic Leukemia ({ALL}) image dataset},
      author = {Aria, Mehrad and Ghaderzadeh, Mustafa and Bashash, Davood and Abolghasemi, Hassan
        and Asadi, Farkhondeh and Hosseini, Azamossadat},
      publisher = {Kaggle},
      year = {2021},
      doi = {10.34740/KAGGLE/DSV/2175623}
    }
    @article{ghaderzadeh2022fast,
      title = {A fast and efficient {CNN} model for {B-ALL} diagnosis and its subtypes
        classification using peripheral blood smear images},
      author = {Ghaderzadeh, Mustafa and Aria, Mehrad and Hosseini, Azamossadat and Asadi,
        Farkhondeh and Bashash, Davood and Abolghasemi, Hassan},
      journal = {International Journal of Intelligent Systems},
      volume = {37},
      number = {8},
      pages = {5113--5133},
      year = {2022},
      doi = {10.1002/int.22753}
    }
    """
    CLASS_NAMES = ball.CLASS_NAMES
