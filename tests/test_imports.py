"""Who may import whom: reads every import under jaxall/ and compares it with the table here.

A library names what it may use of ours and of others; commands stand above all and never import
one another; each module between may use the libraries and those of its own kind that are listed.
"""

import ast
import dataclasses
import pathlib
import re
import sys
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "jaxall"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES = 250
# Files longer than that, and why they are one subject.
LONG = {
    "config.py": "one table of all settings, and its way into JSON and back",
    "data/pipeline.py": "the two pipelines and the source that both read",
    "data/smears.py": "one drawing, from the slide down to a cell's outline",
    "data/splits.py": "the kinds of split, and what each must keep to",
    "models/efficientnet.py": "the blocks of a family of eight and their renames",
    "weights/download.py": "one download, with all that a network can do wrong",
    "weights/pickles.py": "one reader of an untrusted format, refusals included",
    "weights/state_dict.py": "three file formats of one thing",
}
NO_NAMES = ("utils", "util", "common", "helpers", "helper", "misc")

COMMANDS = ("train", "evaluate", "predict", "port", "prepare", "report", "sweep")
LIBRARIES = ("ops", "models", "weights", "data", "training", "evaluation", "reporting")
FOLDERS_BETWEEN = ("runs", "search", "comparing", "datasets")  # each of their files has a row
LEAVES = (
    "errors",
    "files",
    "kinds",
    "__version__",
)  # these import nothing of ours, and anyone may use them

# part of the package -> (what it may import of ours besides itself and LEAVES, what of others)
TABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ops": ((), ("jax",)),
    "models": (("ops",), ("jax", "flax", "numpy")),
    "weights": (("models",), ("jax", "flax", "numpy", "safetensors")),
    "data": ((), ("numpy", "grain", "PIL", "cv2", "tensorflow_datasets")),
    "training": ((), ("jax", "flax", "optax", "orbax", "numpy", "tensorboardX")),
    "evaluation": ((), ("numpy", "sklearn", "scipy")),
    "reporting": (("evaluation",), ("numpy", "matplotlib", "rich", "etils", "jinja2")),
    "errors": ((), ()),
    "files": ((), ()),
    "kinds": ((), ()),
    "__init__": ((), ()),
    **{f"{folder}.__init__": ((), ()) for folder in FOLDERS_BETWEEN},
    "config": (("models", "data", "training", "evaluation", "plain"), ()),
    "plain": (("data",), ()),
    "config_flag": (("config", "plain"), ("absl", "ml_collections", "etils")),
    "model_flags": ((), ("absl",)),
    "cli": ((), ("absl", "rich")),
    "runtime": ((), ("jax", "jaxlib")),
    "runs.workdir": (("config", "models", "data", "training"), ()),
    "runs.reading": (("config", "data", "reporting"), ("rich",)),
    "runs.baselines": (("data", "evaluation"), ("numpy",)),
    "runs.assembly": (
        ("config", "data", "models", "runs.baselines", "runs.reading", "runs.workdir", "runtime"),
        ("jax", "numpy", "rich"),
    ),
    "runs.learners": (
        ("config", "models", "data", "reporting", "runtime", "training", "weights"),
        ("flax", "jax", "numpy", "optax", "rich"),
    ),
    "runs.judging": (
        ("runs.assembly", "config", "data", "evaluation", "runs.trained", "training"),
        (),
    ),
    "stopping": ((), ("jax",)),
    "runs.rate_finder": (
        ("runs.assembly", "config", "data", "runs.learners", "reporting", "training"),
        ("jax", "numpy", "rich"),
    ),
    "datasets.preparing": (("data", "reporting"), ("numpy", "rich")),
    "datasets.audits": (("runs.workdir", "data", "reporting"), ("numpy", "rich")),
    "runs.probing": (("runs.assembly", "config", "runs.learners", "training"), ("jax", "rich")),
    "runs.trained": (
        ("runs.workdir", "models", "data", "evaluation", "training"),
        ("jax", "numpy"),
    ),
    "runs.scoring": (
        (
            "runs.assembly",
            "evaluation",
            "reporting",
            "runs.trained",
            "training",
            "runs.workdir",
            "runtime",
        ),
        ("rich",),
    ),
    "runs.ensembles": (
        ("data", "evaluation", "reporting", "runs.scoring", "training", "runs.workdir"),
        (),
    ),
    "runs.folds": (
        (
            "runs.assembly",
            "config",
            "data",
            "evaluation",
            "reporting",
            "runs.scored",
            "runs.scoring",
            "runs.trained",
            "training",
            "runs.workdir",
        ),
        ("numpy", "rich"),
    ),
    "runs.scored": (("evaluation", "runs.scoring"), ()),
    "comparing.comparison": (
        (
            "config",
            "data",
            "evaluation",
            "runs.folds",
            "runs.scored",
            "runs.scoring",
            "runs.workdir",
            "training",
        ),
        (),
    ),
    "comparing.run_facts": (("comparing.comparison", "config", "data"), ()),
    "comparing.page_figures": (("evaluation", "reporting", "runs.scored"), ()),
    "comparing.page_sections": (
        (
            "evaluation",
            "comparing.comparison",
            "comparing.page_figures",
            "reporting",
            "comparing.run_facts",
            "runs.scored",
            "runs.scoring",
            "training",
        ),
        (),
    ),
    "comparing.pages": (
        (
            "comparing.comparison",
            "evaluation",
            "comparing.page_sections",
            "reporting",
            "comparing.run_facts",
        ),
        ("rich",),
    ),
    "datasets.sheets": (("runs.assembly", "config", "data", "reporting"), ("numpy", "rich")),
    "search.ranges": ((), ()),
    "search.sweeps": (("config", "config_flag", "evaluation", "search.ranges"), ()),
    "search.trials": (("cli", "evaluation", "search.sweeps", "training"), ()),
    "search.studies": (("config", "reporting", "search.sweeps", "search.trials"), ("numpy",)),
    "runs.runlog": (
        ("runs.assembly", "config", "data", "evaluation", "reporting", "runtime", "training"),
        ("jax", "rich"),
    ),
}
BETWEEN = tuple(
    part for part in TABLE if part not in (*LIBRARIES, *LEAVES) and "__init__" not in part
)
TABLE |= dict.fromkeys(
    COMMANDS, ((*LIBRARIES, *BETWEEN), ("absl", "etils", "jax", "numpy", "rich"))
)
# Narrower than their library's row.
FILES_OF_THEIR_OWN = {
    "weights/state_dict.py": ((), ("numpy", "safetensors")),
    "weights/pickles.py": ((), ("numpy",)),
    "weights/download.py": ((), ()),
}
# file -> modules that its functions, but not the file itself, may import
LATE = {
    "weights/parity.py": ("torch", "torchvision"),
    "search/studies.py": ("optuna", "sqlalchemy"),
    "search/trials.py": ("optuna",),
}


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name; `is_late` if only a function's call, or a type checker, executes it."""

    line: int
    name: str
    is_late: bool


def imports(source: str) -> Iterator[Import]:
    """Every import of a source text, relative ones as they stand, `from a import b` as "a.b"."""

    def visit(node: ast.AST, is_late: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, is_late)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = "." * node.level + (node.module or "")
                yield Import(node.lineno, f"{module}.{alias.name}", is_late)
        if isinstance(node, ast.If):
            is_late = is_late or "TYPE_CHECKING" in ast.unparse(node.test)
        is_late = is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, is_late)

    yield from visit(ast.parse(source), False)


def part_of(name: str) -> str:
    """ "data.ball" -> "data"; "train" -> "train"; "runs.folds.score" -> "runs.folds"."""
    first, *rest = name.split(".")
    return ".".join((first, *rest[:1])) if first in FOLDERS_BETWEEN else first


def module_of(file: str) -> str:
    """ "data/ball.py" -> "data.ball"; a package's own file is "data.__init__"."""
    return file.removesuffix(".py").replace("/", ".")


def violations(file: str, source: str) -> list[str]:
    """Lines "file:line: what is wrong" of one file's text; `file` is relative to the package."""
    part = part_of(module_of(file))
    if part not in TABLE:
        return [f"{file}: {part!r} is not in the table of who may import whom"]
    ours, others = FILES_OF_THEIR_OWN.get(file, TABLE[part])
    problems = []
    for found in imports(source):
        root, _, rest = found.name.partition(".")
        foreign = others + (LATE.get(file, ()) if found.is_late else ())
        if found.name.startswith("."):
            problem = "relative"
        elif found.name.endswith(".*"):
            problem = "a star"
        elif root == "jaxall":
            below = part_of(rest)
            problem = None if below in (part, *ours, *LEAVES) else f"{part} may not use {below}"
        elif root in sys.stdlib_module_names or root in foreign:
            problem = None
        else:
            problem = f"{part} may not use {root}"
        if problem:
            problems.append(f"{file}:{found.line}: import of {found.name}: {problem}")
    return problems


def names(paths: list[pathlib.Path]) -> list[str]:
    return [path.relative_to(PACKAGE).as_posix() for path in paths]


@pytest.mark.parametrize("file", names(FILES))
def test_a_file_imports_only_what_the_table_allows(file):
    assert violations(file, (PACKAGE / file).read_text()) == []


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("data/ball.py", "import numpy\nimport jax.numpy", "ball.py:2: .*data may not use jax"),
        ("data/ball.py", "from flax import linen", "data may not use flax"),
        ("data/ball.py", "def f():\n    import jax", "data may not use jax"),
        ("training/loop.py", "from jaxall.models import head", "training may not use models"),
        ("training/loop.py", "from jaxall import data", "training may not use data"),
        ("evaluation/scores.py", "import matplotlib", "evaluation may not use matplotlib"),
        ("evaluation/scores.py", "from jaxall import reporting", "may not use reporting"),
        ("models/head.py", "from jaxall.config import Config", "models may not use config"),
        ("weights/port.py", "def f():\n    import torch", "weights may not use torch"),
        ("weights/parity.py", "import torch", "weights may not use torch"),
        ("weights/state_dict.py", "import jax", "weights may not use jax"),
        ("weights/state_dict.py", "from jaxall import models", "weights may not use models"),
        ("train.py", "from jaxall import evaluate", "train may not use evaluate"),
        ("predict.py", "import jaxall.train", "predict may not use train"),
        ("runs/workdir.py", "from jaxall import port", "runs.workdir may not use port"),
        ("runs/workdir.py", "from jaxall.runs import folds", "may not use runs.folds"),
        ("errors.py", "from jaxall import cli", "errors may not use cli"),
        ("ops/depthwise.py", "from jaxall.errors import *", "a star"),
        ("ops/depthwise.py", "from . import x", "relative"),
        ("extras.py", "", "not in the table"),
    ],
)
def test_the_checker_sees_what_is_forbidden(file, source, reason):
    problems = violations(file, source)
    assert len(problems) == 1
    assert re.search(reason, problems[0])


def test_the_checker_lets_through_what_is_allowed():
    late = "def f():\n    import torch\nif TYPE_CHECKING:\n    import torch"
    assert violations("weights/parity.py", late) == []
    assert violations("train.py", "import os\nfrom jaxall import models, cli, errors") == []
    assert violations("weights/state_dict.py", "from jaxall.weights import pickles") == []


def test_every_file_is_there_to_be_checked():
    assert {part_of(module_of(file)) for file in names(FILES)} >= {*LIBRARIES, *COMMANDS, *BETWEEN}


def test_no_file_is_named_for_nothing_in_particular():
    assert [file for file in names(FILES) if pathlib.Path(file).stem in NO_NAMES] == []


def test_long_files_are_known_and_have_a_reason():
    long = {file for file in names(FILES) if len((PACKAGE / file).read_text().splitlines()) > LINES}
    assert long <= LONG.keys(), "longer than a screen of context: split it, or give the reason"
    assert all(LONG.values())
