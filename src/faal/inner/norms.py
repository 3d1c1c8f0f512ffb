"""The balls that bound an attack: for each norm a random start, the steepest step, the projection and the distance.

Images are (B, channels, H, W) in [0, 1]. Epsilon and step size are in the same units, a number for all samples or (B,).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from faal.config.choices import NormName

Budget = float | Tensor
"""An epsilon or a step size: a number for all samples, or (B,)."""

MIN_LENGTH = 1e-12
"""Below this a gradient has no direction: the sample is not changed."""


@dataclass(frozen=True)
class Norm:
    """A norm, and the operations of attacks in it."""

    start: Callable[[Tensor, Budget, Tensor], Tensor]
    """(images, epsilon, noise) -> a random point of the ball, within [0, 1]; `noise` is uniform in [0, 1), of the
    images' shape."""
    step: Callable[[Tensor, Tensor, Budget], Tensor]
    """(images, gradient, step size) -> one step of steepest ascent."""
    project: Callable[[Tensor, Tensor, Budget], Tensor]
    """(images, centre, epsilon) -> a point within epsilon of `centre`, itself in [0, 1], and within [0, 1]."""
    distance: Callable[[Tensor, Tensor], Tensor]
    """(images, centre) -> (B,)."""


def per_sample(value: Budget, like: Tensor) -> Budget:
    """A budget shaped so that it broadcasts over images."""
    return value.to(like.dtype).view(-1, 1, 1, 1) if isinstance(value, Tensor) else value


# --- L-infinity ------------------------------------------------------------------------------------------------------


def uniform_start(images: Tensor, epsilon: Budget, noise: Tensor) -> Tensor:
    """x + U(-eps, eps)."""
    return (images + (2 * noise - 1) * per_sample(epsilon, images)).clamp(0, 1)


def sign_step(images: Tensor, gradient: Tensor, step_size: Budget) -> Tensor:
    """Every pixel changes by the full step size."""
    return images + per_sample(step_size, images) * gradient.sign()


def project(images: Tensor, centre: Tensor, epsilon: Budget) -> Tensor:
    """The closest point within epsilon of `centre` and within [0, 1]."""
    radius = per_sample(epsilon, centre)
    return torch.minimum(torch.maximum(images, centre - radius), centre + radius).clamp(0, 1)


def linf_distance(images: Tensor, centre: Tensor) -> Tensor:
    """The largest change of a pixel."""
    return (images - centre).abs().flatten(1).amax(dim=1)


# --- L2 --------------------------------------------------------------------------------------------------------------


def length(values: Tensor) -> Tensor:
    """(B, 1, 1, 1), the Euclidean length of each sample."""
    lengths: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return lengths.view(-1, 1, 1, 1)


def sphere_start(images: Tensor, epsilon: Budget, noise: Tensor) -> Tensor:
    """x + eps times a uniform direction: in the dimensions of images, almost all of a ball's volume is near its
    surface."""
    # The inverse error function makes uniform numbers normal ones, whose direction is uniform; at -1 it is infinite.
    direction = torch.erfinv(2 * noise.clamp_min(2**-25) - 1)
    return (images + per_sample(epsilon, images) * direction / length(direction).clamp_min(MIN_LENGTH)).clamp(0, 1)


def gradient_step(images: Tensor, gradient: Tensor, step_size: Budget) -> Tensor:
    """A step of that length along the gradient."""
    return images + per_sample(step_size, images) * gradient / length(gradient).clamp_min(MIN_LENGTH)


def project_l2(images: Tensor, centre: Tensor, epsilon: Budget) -> Tensor:
    """Scale the difference to the radius, then clip to [0, 1], which does not increase the distance to a centre within
    it."""
    change = images - centre
    factor = (per_sample(epsilon, centre) / length(change).clamp_min(MIN_LENGTH)).clamp(max=1)
    return (centre + factor * change).clamp(0, 1)


def euclidean(images: Tensor, centre: Tensor) -> Tensor:
    """The Euclidean distance."""
    return length(images - centre).flatten()


NORMS: dict[NormName, Norm] = {
    "linf": Norm(start=uniform_start, step=sign_step, project=project, distance=linf_distance),
    "l2": Norm(start=sphere_start, step=gradient_step, project=project_l2, distance=euclidean),
}
