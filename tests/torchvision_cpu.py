"""`torch` and `torchvision`, also where torchvision's compiled operators don't fit the torch build.

Importing this raises ImportError where one of them isn't installed, so that tests can say
`torchvision_cpu = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)`.
"""

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # torchvision's Python part insists on two operator names of its compiled part. With them
    # models and transforms work; torchvision.ops.nms and torchvision.io don't.
    LIBRARY = torch.library.Library("torchvision", "DEF")  # the operators live as long as this
    for name in ("nms", "qnms"):
        LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
import torchvision.transforms.functional


def network(name: str, **settings) -> torch.nn.Module:
    """Torchvision's network of that name, with random weights."""
    if name.startswith(("googlenet", "vgg")):
        settings["init_weights"] = False  # they take long, and GoogLeNet's want to be asked for
    return torchvision.models.get_model(name, weights=None, **settings)


__all__ = ["network", "torch", "torchvision"]
