"""`isthmus encode`: images of the user's own, encoded by DOFA into a patch product.

Belongs here: the plan over all images, the table that comes out, its footer. Does not: cutting images
(`sources/image_patches.py`), the model (`transforms/dofa/`), arguments of the command
(`orchestration/encode_command.py`).

Images are read row of patches by row of patches, so that memory is that of some patches. The file appears when all of
it is there; the values of every image are checked before the first patch is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms.dofa.encoder import DofaEncoder
from transforms.dofa.presets import Preset
from transforms.dofa.scaling import check_value_range, doubt_values
from transforms.dofa.sizes import IMAGE_PX, DofaSize
from transforms.utm import boxes_to_polygons
from warehouse.dofa_checkpoint import DofaCheckpoint, read_checkpoint
from warehouse.errors import SourceContentError, SourceFormatError, SourceMissingError
from warehouse.file_access import stat_file
from warehouse.products import Product, find_product, load_registry
from warehouse.provenance import Provenance, SourceFile
from warehouse.sources.bigearthnet_bands import FolderPlan, is_patch_folder, plan_folder
from warehouse.sources.image_patches import PatchImages, PatchSource, plan_image
from warehouse.table_spec import SIMULATED, WKB, TableSpec, vector_type
from warehouse.writer import PartitionWriter, open_partition, row_group_rows

Float32Array = npt.NDArray[np.float32]
Progress = Callable[[float, str], None]

#: Key of what the columns do not say, in the footer.
FOOTER_KEY = "isthmus_dofa"
#: Patch folders whose values are looked at together.
_SAMPLED_FOLDERS = 64


@dataclass(frozen=True)
class EncodeRequest:
    """What is asked for.

    Attributes:
        images: GeoTIFFs in UTM, or BigEarthNet patch folders.
        checkpoint: file with weights.
        size: of the model.
        preset: bands and scaling.
        output: GeoParquet to write.
        bands: ``name=band``, see `choose_bands`; empty = by the names in the file.
        patch_m: side of a patch; None = 224 pixels.
        max_nodata: a patch with a larger share without data is skipped.
        multiply: stored numbers are multiplied by this, then
        add: this is added; so they become the values of the preset.
        accept_values: encode whatever the values look like.
        batch: images at once.
    """

    images: tuple[Path, ...]
    checkpoint: Path
    size: DofaSize
    preset: Preset
    output: Path
    bands: tuple[str, ...] = ()
    patch_m: float | None = None
    max_nodata: float = 0.1
    multiply: float = 1.0
    add: float = 0.0
    accept_values: bool = False
    batch: int = 16


@dataclass(frozen=True)
class EncodeSummary:
    """What came out.

    Attributes:
        output: the file.
        rows: patches.
        skipped: patches with too little data.
        images: images that were read.
        product: entry of the registry that reads the file.
        dims: of a vector.
        patch_m: side of a patch; that of the registry entry may have to be set to it.
        preset: of the bands.
        bands: that were used.
        checkpoint: name of the file.
        published_as: where these weights are published; empty where they are not known.
        is_simulated: True if any image is.
        doubts: what is odd about the input; empty where nothing is.
    """

    output: Path
    rows: int
    skipped: int
    images: int
    product: str
    dims: int
    patch_m: float
    preset: str
    bands: tuple[str, ...]
    checkpoint: str
    published_as: str
    is_simulated: bool
    doubts: tuple[str, ...]


def encode_images(request: EncodeRequest, progress: Progress) -> EncodeSummary:
    """Encode images and write one row a patch; nothing is written unless all went well.

    Args:
        request: what is asked for.
        progress: told (share done, what).

    Raises:
        IsthmusError: anything that is wrong with the request, the images, their values or the checkpoint.
    """
    output = _check_output(request)
    plans = [_plan(path, request) for path in request.images]
    _check_plans(plans)
    doubts = [] if request.accept_values else _check_values(plans, request)
    progress(0.0, f"reading {request.checkpoint.name}")
    checkpoint = read_checkpoint(request.checkpoint, request.size)
    if not checkpoint.published_as:
        doubts.append(f"{checkpoint.file_name}: found none of the published files that we know by SHA-256")
    encoder = DofaEncoder(checkpoint.matched, request.size, plans[0].preset, batch=request.batch)
    product = find_product(load_registry(), f"dofa_{request.size.name}")
    is_simulated = any(plan.is_simulated for plan in plans)
    spec = _output_spec(product.name, request.size)
    with open_partition(output, spec, _provenance(product, plans, is_simulated)) as writer:
        rows, skipped = _write_patches(writer, plans, encoder, request, progress)
        if not rows:
            raise SourceContentError(
                ", ".join(str(path) for path in request.images[:3]),
                [f"found no patch of {skipped} with at most {request.max_nodata:g} nodata, expected some"],
                "Raise --max-nodata, choose a smaller --patch-m, or correct the nodata value of the file.",
            )
        writer.file.add_key_value_metadata({FOOTER_KEY: _footer(checkpoint, plans, request)})
    return EncodeSummary(
        output, rows, skipped, len(plans), product.name, request.size.width, plans[0].patch_m, request.preset.name,
        plans[0].preset.band_names, checkpoint.file_name, checkpoint.published_as, is_simulated, tuple(doubts),
    )  # fmt: skip


def _check_output(request: EncodeRequest) -> Path:
    if not request.images:
        raise SourceMissingError("images", "none", "at least one GeoTIFF or BigEarthNet patch folder", "Name some.")
    taken = {path.resolve() for path in (*request.images, request.checkpoint)}
    if request.output.is_dir() or request.output.resolve() in taken:
        found = "a folder" if request.output.is_dir() else "a file that is read"
        raise SourceFormatError(str(request.output), "output", found, "another file name", "Choose --output.")
    return request.output


def _plan(path: Path, request: EncodeRequest) -> PatchSource:
    if is_patch_folder(path):
        return plan_folder(path, request.preset, request.bands, request.patch_m)
    if path.is_dir():
        raise SourceMissingError(
            str(path), "a folder without bands named *_B01.tif ...",
            "a GeoTIFF, or the folder of one BigEarthNet patch",
            "Name the images themselves, e.g. folder/*.tif.",
        )  # fmt: skip
    return plan_image(path, request.preset, request.bands, request.patch_m, IMAGE_PX)


def _check_plans(plans: Sequence[PatchSource]) -> None:
    """Refuse images whose patches would not be one product."""
    first = plans[0]
    for plan in plans:
        if (plan.patch_m, plan.preset) != (first.patch_m, first.preset):
            raise SourceFormatError(
                str(plan.path), "patches", f"{plan.patch_m:g} m of bands {list(plan.preset.band_names)}",
                f"as in {first.path.name}: {first.patch_m:g} m of bands {list(first.preset.band_names)}",
                "Give --patch-m and --bands, or encode the images into files of their own.",
            )  # fmt: skip
    ids = [plan.path.stem if plan.path.is_file() else plan.path.name for plan in plans]
    doubled = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    if doubled:
        raise SourceFormatError(
            "images", "names", f"{doubled} more than once", "one name an image: ids of patches begin with it",
            "Rename the files, or encode them into files of their own.",
        )  # fmt: skip


def _check_values(plans: Sequence[PatchSource], request: EncodeRequest) -> list[str]:
    """Check the values of every GeoTIFF, and of patch folders together: a single one may well be dark all over."""
    folders = [plan for plan in plans if isinstance(plan, FolderPlan)]
    step = max(1, len(folders) // _SAMPLED_FOLDERS)
    groups = [[plan] for plan in plans if not isinstance(plan, FolderPlan)] + ([folders[::step]] if folders else [])
    doubts = []
    for group in groups:
        samples = [plan.read_sample().reshape(len(plan.bands), -1) for plan in group]
        values = _to_preset(np.concatenate(samples, axis=1), request)
        what = str(group[0].path) if len(group) == 1 else f"{len(group)} patch folders"
        check_value_range(values, group[0].preset, what)
        doubt = doubt_values(values, group[0].preset)
        doubts += [f"{what}: {doubt}"] if doubt else []
    return doubts


def _to_preset(values: Float32Array, request: EncodeRequest) -> Float32Array:
    """Turn stored numbers into the values of the preset."""
    return values * np.float32(request.multiply) + np.float32(request.add)


def _write_patches(
    writer: PartitionWriter,
    plans: Sequence[PatchSource],
    encoder: DofaEncoder,
    request: EncodeRequest,
    progress: Progress,
) -> tuple[int, int]:
    """Encode all patches and write them a row group at a time: (written, skipped)."""
    total = sum(plan.n_patches for plan in plans)
    waiting: list[pa.Table] = []
    done = skipped = 0
    for plan in plans:
        for patches in plan.iter_patches():
            kept = np.flatnonzero(patches.nodata_share <= request.max_nodata)
            done, skipped = done + len(patches.ids), skipped + len(patches.ids) - len(kept)
            if len(kept):
                vectors = encoder.encode(_to_preset(patches.values[kept], request), is_checked=True)
                waiting.append(_patch_rows(plan, patches, kept, vectors, writer.spec))
            if sum(map(len, waiting)) >= row_group_rows(writer.spec):
                writer.write(pa.concat_tables(waiting))
                waiting.clear()
            progress(done / total, f"encoding {plan.path.name}")
    if waiting:
        writer.write(pa.concat_tables(waiting))
    return done - skipped, skipped


def _patch_rows(
    plan: PatchSource, patches: PatchImages, kept: npt.NDArray[np.intp], vectors: Float32Array, spec: TableSpec
) -> pa.Table:
    polygons = boxes_to_polygons(patches.boxes[kept], plan.epsg)
    columns = {
        "id": pa.array([patches.ids[i] for i in kept]),
        "image": pa.array([plan.path.name] * len(kept)),
        "epsg": pa.array(np.full(len(kept), plan.epsg, np.int32)),
        "nodata_share": pa.array(patches.nodata_share[kept]),
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.ravel()), type=spec.schema.field("embedding").type
        ),
        "is_simulated": pa.array(np.full(len(kept), plan.is_simulated)),
        "geometry": pa.array(shapely.to_wkb(polygons), pa.binary()),
    }
    return pa.table({name: columns[name] for name in spec.schema.names}, schema=spec.schema)


def _output_spec(name: str, size: DofaSize) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("image", pa.string()),
            pa.field("epsg", pa.int32()),
            pa.field("nodata_share", pa.float32()),
            pa.field("embedding", vector_type(size.width)),
            SIMULATED,
            WKB,
        ]
    )
    return TableSpec(name, schema, (), ("id",), "Polygon", "Patches of images, encoded by DOFA.")


def _provenance(product: Product, plans: Sequence[PatchSource], is_simulated: bool) -> Provenance:
    facts = {plan.path.name: stat_file(plan.path) for plan in plans}
    return Provenance(
        product=product.name,
        release=product.release,
        licence=product.licence,
        attribution=(product.attribution,),
        is_simulated=is_simulated,
        sources=tuple(SourceFile(name, fact.etag if fact else "") for name, fact in facts.items()),
    )


def _footer(checkpoint: DofaCheckpoint, plans: Sequence[PatchSource], request: EncodeRequest) -> str:
    """Say how the vectors came about."""
    preset = plans[0].preset
    return json.dumps(
        {
            "model": f"DOFA {request.size.name}",
            "checkpoint": checkpoint.file_name,
            "sha256": checkpoint.sha256,
            "published_as": checkpoint.published_as,
            "initialised": checkpoint.matched.initialised,
            "preset": preset.name,
            "bands": [asdict(band) for band in preset.bands],
            "clip": preset.clip,
            "multiply": request.multiply,
            "add": request.add,
            "resized_to_px": IMAGE_PX,
            "patch_m": plans[0].patch_m,
            "max_nodata": request.max_nodata,
        }
    )
