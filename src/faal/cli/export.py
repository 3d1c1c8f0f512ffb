"""`faal export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from faal.cli.notes import print_notes
from faal.cli.options import Model


def export(
    run: Annotated[Path, Parameter(help="A run's folder (its best.pt), a checkpoint of this program, or zoo:NAME.")],
    file: Annotated[Path, Parameter(help="The output file, FILE.safetensors or FILE.pth, which must not exist yet.")],
    /,
    *,
    model: Model = None,
) -> None:
    """Write a network's weights as a PyTorch state_dict, and print the normalisation of its input.

    The file is a state_dict for `load_state_dict(strict=True)`; a .safetensors file also has architecture, classes and
    normalisation in its metadata. In Python, faal.load_model(RUN) returns the network with its normalisation.

        faal export runs/repaired repaired.safetensors
        faal export zoo:prn18w16-pgd-at weights.pth
        faal export runs/resnet resnet.pth --model mymodels:net
    """
    from faal.models.export import export as run_export

    exported = run_export(run, file, model=model)
    print_notes(*exported.notes)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{file}: the weights of {exported.architecture.model}, {exported.tensors} tensors")
    if exported.normalisation is None:
        console.print("The input is images in [0, 1], without normalisation.")
    else:
        mean, std = (", ".join(map(str, values)) for values in exported.normalisation)
        console.print(f"The input is (images - mean) / std of images in [0, 1], by channel: mean {mean}; std {std}.")
    if exported.reverse:
        console.print("The network takes the channels in reverse, blue first: images.flip(1) after the normalisation.")
    if exported.offsets_layer is not None:
        console.print(
            f"The offsets are in {exported.offsets_layer}.bias: the logits are those of the network with its offsets."
        )
    if exported.offsets:
        console.print(
            "No layer has a bias that is added to the logits. Audit and repair of this file add the offsets that it "
            "records; elsewhere add them to the logits yourself, class by class: "
            f"{', '.join(f'{offset:.6g}' for offset in exported.offsets)}"
        )
    if exported.classes:
        console.print(f"Classes, from 0: {', '.join(exported.classes)}")
