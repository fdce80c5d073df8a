from absl import flags

from jaxall import evaluate, model_flags, predict
from jaxall.data import splits
from jaxall.evaluation import ensemble
from jaxall.training import checkpoints, views


def test_words_that_help_is_not_to_load_a_library_for_are_the_librarys():
    assert tuple(flags.FLAGS["split"].parser.enum_values) == splits.SIDES
    assert tuple(flags.FLAGS["ensemble"].parser.enum_values) == ensemble.BY
    assert model_flags.VIEWS == views.NONE
    assert checkpoints.WEIGHTS[0] == model_flags.WEIGHTS


def test_commands_that_apply_a_model_have_the_same_flags():
    for command in (evaluate, predict):
        assert command._CHECKPOINT.default == model_flags.CHECKPOINT
        assert command._TTA.default == model_flags.VIEWS
        assert command._WEIGHTS.default == model_flags.WEIGHTS
