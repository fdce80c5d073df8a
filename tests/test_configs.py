"""Every file of configs/: loaded, checked, its network built, one of its steps traced."""

import ast
import pathlib

import jax
import jax.numpy as jnp
import pytest

from jaxall import config_flag
from jaxall.runs import assembly, learners
from jaxall.training import parallel, plan

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
CLASSES = 4

pytestmark = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def test_a_config_is_one_short_call_that_says_how_to_run_it(file):
    text = file.read_text()
    tree = ast.parse(text)
    docstring, *body = tree.body
    assert 10 <= len(text.splitlines()) <= 50
    command = f"python -m jaxall.train --config configs/{file.name}"
    assert command in ast.get_docstring(tree) or f"make {file.stem}" in ast.get_docstring(tree)
    assert isinstance(docstring, ast.Expr)
    assert [ast.unparse(node) for node in body[:-1]] == ["from jaxall import config"]
    assert isinstance(body[-1], ast.FunctionDef)
    assert body[-1].name == "get_config"
    assert isinstance(body[-1].body[-1], ast.Return)
    assert len(body[-1].body) == 2, "the docstring and one call"


def test_a_config_can_be_loaded_and_is_possible(file):
    config = config_flag.load(str(file))
    config.validate()
    assert config.name == file.stem


def test_a_step_of_a_config_has_the_shapes_that_it_must_have(file):
    config = config_flag.load(str(file))
    preprocessing = assembly.preprocessing_of(config)
    size = preprocessing.image_size
    length = plan.Plan(
        examples=1000, batch_size=config.train.batch_size, epochs=config.train.epochs
    )
    learner = learners.of(config, preprocessing, CLASSES, length, (30, 10, 20, 40))
    share = config.train.batch_size // jax.device_count()
    lead = (
        (jax.device_count(), share)
        if config.train.parallel == "pmap"
        else (config.train.batch_size,)
    )
    batch = {
        "image": jax.ShapeDtypeStruct((*lead, size, size, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct(lead, jnp.int32),
        "position": jax.ShapeDtypeStruct(lead, jnp.int32),
    }
    before = jax.eval_shape(learner.create)
    spread = parallel.Spread(config.train.parallel)
    for program in learner.programs:
        after, metrics = jax.eval_shape(spread.compile(program), before, batch)
        check(before, after, metrics)


def check(before, after, metrics):
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), before
    )
    assert {name: x.shape for name, x in metrics.items()} == {"loss": (), "gradient_norm": ()}
    assert after.tally.confusion.shape == (CLASSES, CLASSES)
