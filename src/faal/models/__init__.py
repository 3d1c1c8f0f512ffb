"""Networks: from images in [0, 1] to logits, whatever they expect inside."""

from faal.models.build import MODELS, Architecture, build_model
from faal.models.foreign import load_weights
from faal.models.handover import load_model
from faal.models.normalize import Normalized, parse_normalize
from faal.models.opened import Opened, open_model
from faal.models.preact_resnet import PreActResNet
from faal.models.resnet import ResNet
from faal.models.small import SmallNet
from faal.models.wide_resnet import WideResNet

__all__ = [
    "MODELS",
    "Architecture",
    "Normalized",
    "Opened",
    "PreActResNet",
    "ResNet",
    "SmallNet",
    "WideResNet",
    "build_model",
    "load_model",
    "load_weights",
    "open_model",
    "parse_normalize",
]
