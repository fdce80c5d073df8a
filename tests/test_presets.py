"""What a run's pictures are brought to depends on the weights that it starts from."""

import pytest

from jaxall import config, models
from jaxall.errors import UserError
from jaxall.runs import assembly


def made(name: str, init: str, size: int = 0) -> config.Config:
    return config.Config(
        name="a",
        model=config.ModelSettings(name=name, init=init),
        preprocessing=config.PreprocessingSettings(image_size=size),
    )


@pytest.mark.parametrize(
    ("name", "init", "size", "interpolation"),
    [
        ("efficientnet_b1", "imagenet", 240, "bicubic"),
        ("efficientnet_b1", "imagenet_v2", 240, "bilinear"),
        ("efficientnet_b1", "none", 240, "bicubic"),
        ("efficientnet_b1", "some/file.pth", 240, "bicubic"),
        ("efficientnet_b3", "imagenet", 300, "bicubic"),
        ("resnet50", "imagenet_v2", 224, "bilinear"),
        ("baseline", "none", 100, "bilinear"),
    ],
)
def test_preprocessing_is_that_of_the_chosen_weights(name, init, size, interpolation):
    chosen = made(name, init)
    chosen.validate()
    found = assembly.preprocessing_of(chosen)
    assert (found.image_size, found.interpolation) == (size, interpolation)
    smaller = assembly.preprocessing_of(made(name, init, 64))
    assert (smaller.image_size, smaller.interpolation) == (64, interpolation)


def test_pictures_for_googlenet_are_normalised_once_by_what_its_weights_were_trained_with():
    found = assembly.preprocessing_of(made("googlenet", "imagenet"))
    assert (found.mean, found.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "init"),
    [("baseline", "imagenet"), ("baseline", "imagenet_v2"), ("densenet121", "imagenet_v2")],
)
def test_weights_that_there_are_not_are_refused_in_one_line(name: str, init: str):
    with pytest.raises(UserError) as caught:
        made(name, init).validate()
    assert str(caught.value).startswith(f"model.init={init}: torchvision has no such weights of ")
    assert "\n" not in str(caught.value)
    assert not caught.value.details


@pytest.mark.parametrize("name", models.SPECS)
def test_every_architecture_has_a_config_that_is_possible(name: str):
    made(name, "imagenet" if models.find(name).weights else "none").validate()
