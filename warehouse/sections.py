"""The sections of a settings file: what a user may set, and its limits.

Belongs here: one model per table of the file. Does not: reading files, references between sections (`settings.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from transforms.errors import ShapeError
from transforms.fold_plan import Scheme
from transforms.pooling.operators import UnknownOperatorError, find_operator
from transforms.pooling.pixels import PoolingParameters
from transforms.pretraining.head import HeadName
from transforms.pretraining.study import Init
from transforms.tasks import TASKS, Task
from transforms.upsampling.operators import UnknownUpsamplerError, find_upsampler
from warehouse.layout import check_shard_key
from warehouse.local_paths import LocalPath

ShardRule = Literal["mgrs", "region", "file"]
AdapterArm = Literal["native_pixel", "upsampled_bilinear"]
Bbox = tuple[float, float, float, float]
#: Keys of `[area]` that say where the area is.
AREA_KEYS = ("country", "geometry", "tiles", "bbox")
#: MGRS 100 km square; letters as in Sentinel-2 tile names.
TileName = Annotated[str, StringConstraints(pattern=r"^\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]$")]
#: Part of table names.
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_region(name: str) -> None:
    """Refuse a name that cannot be a shard key, in the form that the settings' messages take."""
    try:
        check_shard_key(name)
    except ShapeError as error:
        raise ValueError(str(error)) from error


def _turn_east(bbox: Bbox) -> Bbox:
    """Give a box across the antimeridian as if it ended there, to be checked as others are.

    Half of the world at most: a wider one is more likely west and east in the wrong order.
    """
    west, south, east, north = bbox
    crosses = 180.0 >= west > east >= -180.0 and east + 360.0 - west <= 180.0
    return (-180.0, south, east, north) if crosses and east > -180.0 else bbox


def _check_bbox(name: str, bbox: Bbox) -> None:
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ValueError(f"{name} must be [west, south, east, north] in degrees with west < east, south < north")


class AreaSettings(_Strict):
    """Area of interest, and how it is cut into shards.

    At most one of `country`, `geometry`, `tiles` and `bbox` says where it is; without any it is wherever the sources
    have data.

    Attributes:
        country: name or ISO 3166 code of a country, e.g. `Cambodia`, `KH`, `KHM`.
        geometry: file of polygons: GeoParquet, GeoJSON or what GDAL reads, in any CRS.
        tiles: names of MGRS 100 km squares, e.g. `48PVS`.
        bbox: west, south, east, north in degrees; west > east is across the antimeridian.
        boundaries: file of country borders; None = the one that the set-up brought.
        shard_rule: `mgrs` (100 km squares), `region` (one shard per named region), `file` (one per source file).
        regions: named boxes for the `region` rule, as `bbox`; without any, the whole area is one region named after
            the settings. One across the antimeridian becomes two shards, `{name}-e` and `{name}-w`.
    """

    country: str | None = None
    geometry: LocalPath | None = None
    tiles: tuple[TileName, ...] = ()
    bbox: Bbox | None = None
    boundaries: LocalPath | None = None
    shard_rule: ShardRule = "mgrs"
    regions: dict[str, Bbox] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> AreaSettings:
        for name, bbox in self.regions.items():
            _check_bbox(name, _turn_east(bbox))
        if self.bbox is not None:
            _check_bbox("bbox", _turn_east(self.bbox))
        given = [name for name in AREA_KEYS if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say where the area is: keep one of them")
        if self.shard_rule == "mgrs" and not given:
            raise ValueError("shard_rule 'mgrs' needs country, geometry, tiles, or bbox = [west, south, east, north]")
        if self.shard_rule == "mgrs" and self.bbox is not None and not (-80 <= self.bbox[1] < self.bbox[3] <= 84):
            raise ValueError("shard_rule 'mgrs' reaches from 80 S to 84 N; use 'region' beyond")
        for name in self.regions:
            _check_region(name)
        return self


class KeepWindow(_Strict):
    """A named box in which every pixel is kept."""

    name: str
    bbox: Bbox

    @model_validator(mode="after")
    def _check(self) -> KeepWindow:
        _check_bbox(self.name, self.bbox)
        return self


class KeepSettings(_Strict):
    """Which pixels stay in `core_{product}__pixels`.

    Attributes:
        all: keep every pixel.
        windows: boxes kept densely.
        sample: share of all pixels kept uniformly, chosen by place, so that years keep the same places.
    """

    all: bool = False
    windows: tuple[KeepWindow, ...] = ()
    sample: float = Field(default=0.01, ge=0, le=1)


class CompareSettings(_Strict):
    """The pair of products to compare; either side may be absent (then its arms are)."""

    pixels: str | None = None
    patches: str | None = None


def _check_length(value: Any, *, least: float, is_allowed: bool) -> Any:
    """Take a length in metres or `auto`; by hand, because a union of types has two messages for one mistake."""
    if value == "auto":
        return value
    try:
        length = float(value)
    except (TypeError, ValueError):
        raise ValueError("must be metres or 'auto'") from None
    if not (length >= least if is_allowed else length > least):
        raise ValueError(f"must be greater than {'or equal to ' if is_allowed else ''}{least:g}, or 'auto'")
    return length


Edge = Annotated[float | Literal["auto"], BeforeValidator(partial(_check_length, least=0, is_allowed=False))]
Buffer = Annotated[float | Literal["auto"], BeforeValidator(partial(_check_length, least=0, is_allowed=True))]


class EvaluateSettings(_Strict):
    """What is evaluated and how. Margins and primary arms are fixed in the protocol, not here.

    Attributes:
        label: label source.
        tasks: T1 (patch, single label), T2 (several labels), T3 (class fractions), T4 (retrieval), T5 (pixel
            segmentation), T6 (fractions of small cells, read off the maps of T5), T7 (change between years), T8
            (measured values at pixels).
        values: label source with the values of T8.
        schemes: fold schemes; the first of block, given and longitude answers the questions.
        block_edge_m: edge of a spatial block on EPSG:6933, metres; `auto`: max(5 km, twice the variogram range).
        buffer_m: least distance between training units and test blocks, metres; raised to the product's context.
            `auto`: the larger of that and the variogram range.
        n_folds: number of folds of block, longitude and random schemes.
        purity_min: least majority share of a T1 patch.
        c_grid: inverse regularisation strengths of the logistic probe; more than one: inner block CV picks.
        n_trees: trees of the random forest; the protocol has 500.
        max_train_units: cap on training units per fold (uniform draw).
        seed: seed of folds, draws and probes.
        diagnostic: why results here are a diagnostic and never a verdict; empty: they may be one.
    """

    label: str
    tasks: tuple[Task, ...] = Field(default=("T1", "T5"), min_length=1)
    schemes: tuple[Scheme, ...] = Field(default=("block",), min_length=1)
    block_edge_m: Edge = 5000.0
    buffer_m: Buffer = 1280.0
    n_folds: int = Field(default=5, ge=2, le=50)
    purity_min: float = Field(default=0.5, ge=0, le=1)
    c_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.1,), min_length=1)
    n_trees: int = Field(default=500, ge=1)
    max_train_units: int = Field(default=20_000, ge=10)
    seed: int = 0
    values: str | None = None
    diagnostic: str = ""

    @model_validator(mode="after")
    def _check_tasks(self) -> EvaluateSettings:
        stray = [task for task in self.tasks if TASKS[task].of_maps and "T5" not in self.tasks]
        if stray:
            raise ValueError(f"tasks {stray} are read off the maps of T5: add T5")
        if "T8" in self.tasks and self.values is None:
            raise ValueError("task T8 needs values, a label source with measured values")
        return self


class AdapterSettings(_Strict):
    """How the pre-training of the adapter is studied. A fit takes about a second: multiply before you add.

    Attributes:
        arms: whose vectors the adapter stands on.
        heads: `conv`, and `linear` as the sanity arm.
        inits: how adapters start; `random_init` is what the others are compared with.
        budgets: shares of the label draw, per cent.
        seeds: paired repetitions; seed s holds out fold s, so take at least as many as there are folds.
        regions: region -> its shards; shards that are not named are left out. Without any, each shard is a region.
        chip_px: edge of a chip, one a spatial block.
        crop_px: edge of a view.
        width: of the adapter.
        max_labels: labelled pixels of the 100 % budget, at most.
        pretrain_steps: steps of contrastive pre-training.
        fine_tune_steps: steps of training on labels, at most.
    """

    arms: tuple[AdapterArm, ...] = Field(default=("native_pixel",), min_length=1)
    heads: tuple[HeadName, ...] = Field(default=("conv", "linear"), min_length=1)
    inits: tuple[Init, ...] = Field(
        default=("random_init", "pretrained", "shuffled_positives", "supervised_elsewhere"), min_length=1
    )
    budgets: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(1, 5, 10, 25, 50, 100), min_length=1)
    seeds: int = Field(default=5, ge=1, le=50)
    regions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    chip_px: int = Field(default=64, ge=8, le=512)
    crop_px: int = Field(default=16, ge=6, le=256)
    width: int = Field(default=32, ge=2, le=512)
    max_labels: int = Field(default=2_000, ge=10)
    pretrain_steps: int = Field(default=200, ge=1)
    fine_tune_steps: int = Field(default=300, ge=1)

    @model_validator(mode="after")
    def _check(self) -> AdapterSettings:
        for key in ("arms", "heads", "inits", "budgets"):
            if len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"{key}: {list(getattr(self, key))} names one twice")
        if "random_init" not in self.inits:
            raise ValueError("inits must hold random_init: gains are measured against it")
        if self.crop_px > self.chip_px:
            raise ValueError(f"crop_px {self.crop_px} is larger than chip_px {self.chip_px}")
        shards = [shard for members in self.regions.values() for shard in members]
        if len(set(shards)) != len(shards):
            raise ValueError(f"regions: a shard of {shards} is in two regions")
        return self


class InstanceSettings(_Strict):
    """Where Dagster keeps its history."""

    instance: LocalPath


class LimitSettings(_Strict):
    """Limits of one machine.

    Attributes:
        block_px: edge of a pixel block held in memory.
        min_free_mb: refuse to start with less free disk.
        threads: folds trained at once.
    """

    block_px: int = Field(default=1024, ge=64, le=8192)
    min_free_mb: int = Field(default=2_000, ge=0)
    threads: int = Field(default=2, ge=1, le=64)


class PoolSettings(_Strict):
    """How pixels are pooled to patches.

    Attributes:
        operators: names of `transforms.pooling.operators`; each becomes a column of `out_patch__{product}_pooled`
            (joined ones, such as `stats`, become the columns that they join). The mean is always stored.
        min_coverage: least share of a footprint that must hold valid pixels.
        gem_p: exponent of GeM.
        percentiles: of the operator of that name.
        codebook_size: centres of the codebooks of `vlad` and `bow`.
    """

    operators: tuple[str, ...] = ("mean", "mean_renormalised", "mean_length", "stats", "gem")
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    gem_p: float = PoolingParameters().gem_p
    percentiles: tuple[float, ...] = PoolingParameters().percentiles
    codebook_size: int = Field(default=16, ge=2, le=256)

    @model_validator(mode="after")
    def _check(self) -> PoolSettings:
        _check_names(self.operators)
        try:
            for name in self.operators:
                find_operator(name)
            self.parameters()
        except (UnknownOperatorError, ShapeError) as error:
            raise ValueError(str(error)) from error
        return self

    def parameters(self) -> PoolingParameters:
        """Give the parameters that operators take; codebooks are fitted, not set."""
        return PoolingParameters(gem_p=self.gem_p, percentiles=self.percentiles)


class UpsampleSettings(_Strict):
    """How patches are upsampled to pixels.

    Attributes:
        operators: names of `transforms.upsampling.operators`. Those that learn nothing are stored in
            `out_pixel__{product}_upsampled`; fitted ones are fitted inside each training fold of the evaluation.
        basis_dims: int8 dimensions of the basis in which windows are stored.
    """

    operators: tuple[str, ...] = ("nearest", "bilinear", "mass_preserving")
    basis_dims: int = Field(default=64, ge=1, le=256)

    @field_validator("operators")
    @classmethod
    def _check_operators(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _check_names(names)
        try:
            for name in names:
                find_upsampler(name)
        except UnknownUpsamplerError as error:
            raise ValueError(str(error)) from error
        return names


def _check_names(names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"operators: {list(names)} names one twice")
