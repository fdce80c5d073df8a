"""Every architecture is what its spec says; nothing is computed, only traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxall import models
from jaxall.errors import UserError
from jaxall.models import head

PARAMETERS = {  # as torchvision's own tables have them; the baseline by hand
    "baseline": 3 * 3 * 3 * 32 + 2 * 32 + 33 * 1000,
    "densenet121": 7978856,
    "densenet161": 28681000,
    "densenet169": 14149480,
    "densenet201": 20013928,
    "efficientnet_b0": 5288548,
    "efficientnet_b1": 7794184,
    "efficientnet_b2": 9109994,
    "efficientnet_b3": 12233232,
    "efficientnet_b4": 19341616,
    "efficientnet_b5": 30389784,
    "efficientnet_b6": 43040704,
    "efficientnet_b7": 66347960,
    "googlenet": 6624904,
    "resnet18": 11689512,
    "resnet34": 21797672,
    "resnet50": 25557032,
    "resnet101": 44549160,
    "resnet152": 60192808,
    "vgg16": 138357544,
    "vgg16_bn": 138365992,
    "vgg19": 143667240,
    "vgg19_bn": 143678248,
}
V2 = ("efficientnet_b1", "resnet101", "resnet152", "resnet50")
# One of each family that computes in its own way.
SOME = ("baseline", "densenet121", "efficientnet_b0", "googlenet", "resnet18", "vgg16", "vgg16_bn")


def traced(module, size=64):
    """Shapes and types of the variables and the logits."""
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    logits, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=False), image
    )
    return variables, logits


def test_all_are_there():
    assert set(models.SPECS) == set(PARAMETERS)


@pytest.mark.parametrize("name", models.SPECS)
def test_parameters_and_features_are_those_of_torchvision(name: str):
    spec = models.find(name)
    variables, logits = traced(models.torchvision_classifier(spec))
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    assert count == spec.parameters == PARAMETERS[name]
    assert variables["params"]["head"]["dense"]["kernel"].shape == (spec.features, 1000)
    assert logits.shape == (2, 1000)
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize("name", models.SPECS)
def test_the_official_file_names_its_hash(name: str):
    for weights in models.find(name).weights:
        assert weights.url == f"https://download.pytorch.org/models/{weights.file}"
        assert len(weights.sha256_prefix) == 8
        assert int(weights.sha256_prefix, 16) >= 0


@pytest.mark.parametrize("name", models.SPECS)
def test_without_official_weights_pictures_come_as_for_the_first_of_them(name: str):
    spec = models.find(name)
    for weights in spec.weights[:1]:
        own = {field: getattr(weights, field) for field in vars(spec.preset) if field != "file"}
        assert models.Preset(**own) == models.Preset(
            **{field: getattr(spec.preset, field) for field in own}
        )


@pytest.mark.parametrize("name", models.SPECS)
def test_an_init_names_a_file_or_says_which_architectures_have_one(name: str):
    spec = models.find(name)
    assert models.official(spec, "none") is models.official(spec, "some/file.pth") is None
    for place, init in enumerate(models.OFFICIAL):
        if place < len(spec.weights):
            assert models.official(spec, init) is spec.weights[place]
            continue
        with pytest.raises(UserError) as caught:
            models.official(spec, init)
        said = str(caught.value)
        assert said.startswith(f"model.init={init}: torchvision has no such weights of {name}; ")
        assert "none or a file" in said
        assert "\n" not in said
        if place == 1:
            assert said.endswith(f"It has them of: {', '.join(V2)}")


@pytest.mark.parametrize("name", SOME)
def test_bfloat16_is_for_computing_only(name: str):
    settings = models.ModelSettings(name=name, precision="bfloat16")
    variables, logits = traced(models.build(models.find(name), settings, 4))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize("name", SOME)
def test_statistics_and_gradients_of_a_bfloat16_network_are_float32(name: str):
    settings = models.ModelSettings(name=name, precision="bfloat16")
    module = models.build(models.find(name), settings, 4)
    variables, _ = traced(module)

    def loss_fn(params, stats, images):
        filled, rngs = {"params": params, "batch_stats": stats}, {"dropout": jax.random.key(0)}
        logits, updates = module.apply(
            filled, images, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits.sum(), updates.get("batch_stats", {})

    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    found = jax.eval_shape(
        jax.grad(loss_fn, has_aux=True), variables["params"], variables["batch_stats"], image
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"'densenet-201'; did you mean densenet201\? There are: "):
        models.find("densenet-201")


@pytest.mark.parametrize(
    ("field", "value"),
    [("head", "deep"), ("width", 0), ("dropout", 1.0), ("drop_path", -0.1), ("precision", "fp8")],
)
def test_an_impossible_setting_names_itself(field: str, value: object):
    with pytest.raises(UserError, match=rf"model\.{field} .*; got {value!r}"):
        models.ModelSettings(**{field: value}).validate()


def test_the_two_layer_head_is_the_recipes_own():
    """BN, dense, BN, leaky ReLU, (dropout), dense, BN, ReLU, dense: against plain numpy."""
    generator = np.random.default_rng(0)
    module = head.TwoLayerHead(3, width=6, dropout=0.5)
    features = generator.normal(size=(5, 7)).astype(np.float32)
    shapes = jax.eval_shape(lambda k: module.init(k, features, train=False), jax.random.key(0))
    variables = jax.tree.map(
        lambda leaf: generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32), shapes
    )
    p, s = variables["params"], variables["batch_stats"]

    def norm(name, x):
        scaled = (x - s[name]["mean"]) / np.sqrt(s[name]["var"] + 1e-5)
        return scaled * p[name]["scale"] + p[name]["bias"]

    def dense(name, x):
        return x @ p[name]["kernel"] + p[name]["bias"]

    x = norm("norm1", dense("dense1", norm("norm0", features)))
    x = np.where(x > 0, x, 0.01 * x)
    x = np.maximum(norm("norm2", dense("dense2", x)), 0)
    np.testing.assert_allclose(
        module.apply(variables, features, train=False), dense("dense3", x), rtol=2e-5
    )


def test_the_two_layer_head_drops_between_its_first_activation_and_its_second_layer():
    called = []

    def record(function, arguments, settings, context):
        if context.method_name == "__call__" and context.module.name:
            called.append(context.module.name)
        return function(*arguments, **settings)

    module, features = head.TwoLayerHead(3), jnp.ones((2, 5))
    with nn.intercept_methods(record):
        module.init(jax.random.key(0), features, train=False)
    assert called == ["norm0", "dense1", "norm1", "dropout", "dense2", "norm2", "dense3"]
