"""One preprocessing: validation in training, `evaluate` and `predict` feed the same tensors."""

import csv
import pathlib

import jax.numpy as jnp
import numpy as np

from jaxall import config, evaluate, predict, train
from jaxall.data import decoding, synthetic
from jaxall.runs import workdir
from jaxall.training import infer
from tests import programs


class Recorder:
    """Stands where the compiled network does, and keeps what that would be fed."""

    fed: list[np.ndarray]  # one array [N,S,S,3] a call, in the order of the calls

    def __init__(self, apply, normalise, views="none"):
        del apply, views
        self._normalise = normalise

    def __call__(self, variables, batches, progress=lambda done: None):
        del variables
        batches = list(batches)
        real = [batch["mask"] > 0 for batch in batches]
        tensors = [np.asarray(self._normalise(jnp.asarray(batch["image"]))) for batch in batches]
        Recorder.fed.append(
            np.concatenate([x[keep] for x, keep in zip(tensors, real, strict=True)])
        )
        index, label = (
            np.concatenate([batch[key][keep] for batch, keep in zip(batches, real, strict=True)])
            for key in ("index", "label")
        )
        uniform = np.full((len(index), len(synthetic.CLASS_NAMES)), 0.25)
        return infer.Inferred(index=index, labels=label, probabilities=uniform)


def test_validation_evaluate_and_predict_feed_the_same_bits(tmp_path, monkeypatch):
    programs.register_tiny(monkeypatch)
    monkeypatch.setattr(infer, "Predictor", Recorder)
    monkeypatch.setattr(Recorder, "fed", [], raising=False)
    root, folder = tmp_path / "drawn", tmp_path / "run"
    synthetic.write(root, subjects_per_class=4, pictures_per_subject=3, size=40)
    settings = programs.tiny_config(root, (config.Rotate(degrees=90.0), config.FlipHorizontal()))
    settings.preprocessing.crop, settings.preprocessing.mask = 36, (0.25, 0.125)
    settings.preprocessing.greyscale = True
    settings.train.epochs = 0.2

    train.train(settings, folder, programs.quiet())
    evaluate.evaluate(folder, "validation", "best", "")
    with (folder / workdir.SPLIT).open() as file:
        names = [line["path"] for line in csv.DictReader(file) if line["side"] == "validation"]
    paths = [str(root / "Original" / name) for name in names]
    predict.predict(folder, paths, "best")

    validated, evaluated, predicted = Recorder.fed
    assert validated.shape == (len(names), 33, 33, 3)
    assert validated.dtype == np.float32
    assert evaluated.tobytes() == validated.tobytes()
    assert predicted.tobytes() == validated.tobytes()

    # And it is the function that the library offers, with the settings that the run has kept.
    kept = workdir.load(folder).preprocessing
    assert (kept.crop, kept.mask, kept.greyscale) == (36, (0.25, 0.125), True)
    loaded = np.stack([kept.load(pathlib.Path(path).read_bytes()) for path in paths])
    assert np.asarray(kept.normalise(jnp.asarray(loaded))).tobytes() == validated.tobytes()
    plain = decoding.decode(pathlib.Path(paths[0]).read_bytes())
    assert plain.shape == (40, 40, 3), "or nothing was resized"
