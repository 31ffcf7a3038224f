"""`isthmus encode`: images of the user's own to a patch product, by DOFA.

Belongs here: the arguments and what is printed. Does not: work (`warehouse/dofa_encoding.py`), other commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.console import EXIT_USAGE, JsonOption, err, make_progress, print_summary

if TYPE_CHECKING:
    from transforms.dofa.presets import Preset


def add_commands(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(encode)


def encode(
    images: Annotated[list[Path], typer.Argument(help="GeoTIFFs in UTM, or BigEarthNet patch folders.")],
    checkpoint: Annotated[Path, typer.Option(help="Weights of DOFA, e.g. DOFA_ViT_base_e100.pth; see docs/dofa.md.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="GeoParquet to write, one row a patch.")],
    preset: Annotated[
        str | None, typer.Option(help="sentinel2 (9 bands), sentinel2_10, sentinel2_12 or sentinel1.")
    ] = None,
    wavelengths: Annotated[
        str | None, typer.Option(help="Instead of a preset: micrometres, comma-separated, one per band.")
    ] = None,
    means: Annotated[str | None, typer.Option(help="With --wavelengths: mean of each band.")] = None,
    stds: Annotated[str | None, typer.Option(help="With --wavelengths: standard deviation of each band.")] = None,
    bands: Annotated[
        str | None, typer.Option(help="Which band of the file is which: B04=1,B03=2. Default: by names in the file.")
    ] = None,
    model: Annotated[str, typer.Option(help="base or large.")] = "base",
    patch_m: Annotated[float | None, typer.Option(help="Side of a patch, metres. Default: 224 pixels.")] = None,
    max_nodata: Annotated[float, typer.Option(min=0, max=1, help="Skip patches with a larger nodata share.")] = 0.1,
    multiply: Annotated[float, typer.Option(help="Stored numbers times this, then --add. 10000 for 0..1.")] = 1.0,
    add: Annotated[float, typer.Option(help="-1000 for Sentinel-2 products since January 2022.")] = 0.0,
    accept_values: Annotated[bool, typer.Option("--accept-values", help="Encode whatever the values look like.")] = (
        False
    ),
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 16,
    as_json: JsonOption = False,
) -> None:
    """Encode images: `isthmus encode scene.tif --checkpoint dofa.pth --preset sentinel2 -o scene.parquet`.

    Cuts each image into patches and writes the vectors in the form of the registered products dofa_base and dofa_large,
    which every arm can use. Needs the extra torch.
    """
    from transforms.dofa.sizes import find_size
    from warehouse.dofa_encoding import EncodeRequest, encode_images

    request = EncodeRequest(
        tuple(images), checkpoint, find_size(model), _choose_preset(preset, wavelengths, means, stds), output,
        tuple(item.strip() for item in bands.split(",")) if bands else (), patch_m, max_nodata, multiply, add,
        accept_values, batch,
    )  # fmt: skip
    with make_progress() as bar:
        task = bar.add_task("looking at images", total=1.0)
        summary = encode_images(request, lambda share, text: bar.update(task, completed=share, description=text))
    for doubt in summary.doubts:
        err.print(f"[yellow]warning[/] {doubt}", highlight=False)
    print_summary(summary, as_json)


def _choose_preset(preset: str | None, wavelengths: str | None, means: str | None, stds: str | None) -> Preset:
    """Give the preset that is named, or that of the user's own bands; exactly one of both."""
    from transforms.dofa.presets import find_preset, own_bands

    own = (wavelengths, means, stds)
    if preset is not None and own == (None, None, None):
        return find_preset(preset)
    if preset is None and wavelengths is not None and means is not None and stds is not None:
        return own_bands(_numbers("--wavelengths", wavelengths), _numbers("--means", means), _numbers("--stds", stds))
    err.print("bands: expected either --preset, or --wavelengths with --means and --stds")
    raise typer.Exit(EXIT_USAGE)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        err.print(f"{option}: found '{text}', expected numbers with commas between them")
        raise typer.Exit(EXIT_USAGE) from error
