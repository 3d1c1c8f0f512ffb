"""Build and load networks from images in [0, 1] to logits; the normalisation that they expect is part of them."""

from faal.models.architectures.preact_resnet import PreActResNet
from faal.models.architectures.resnet import ResNet
from faal.models.architectures.small import SmallNet
from faal.models.architectures.wide_resnet import WideResNet
from faal.models.build import MODELS, Architecture, build_model
from faal.models.foreign import load_weights
from faal.models.load import LoadedModel, load_model, open_model
from faal.models.normalize import Normalized, parse_normalize

__all__ = [
    "MODELS",
    "Architecture",
    "LoadedModel",
    "Normalized",
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
