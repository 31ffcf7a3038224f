"""The registry of embedding products.

Belongs here: the declared facts of a product and how to look one up. Does not: reading the product's files
(`warehouse/sources/`).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from warehouse.errors import UnknownProductError

Grain = Literal["patch", "pixel"]
Layout = Literal["aef_cog", "aef_zarr", "pixel_geotiff", "pixel_table", "eg_geoparquet", "patch_geoparquet"]

#: Which layouts serve which grain.
PIXEL_LAYOUTS: tuple[Layout, ...] = ("aef_cog", "aef_zarr", "pixel_geotiff", "pixel_table")
#: Which of them give windows of pixels.
RASTER_LAYOUTS: tuple[Layout, ...] = ("aef_cog", "aef_zarr", "pixel_geotiff")
PATCH_LAYOUTS: tuple[Layout, ...] = ("eg_geoparquet", "patch_geoparquet")
#: Grid of the ids that `transforms/lattice.py` knows, so of all that layout `eg_geoparquet` can read.
LATTICE_VERSION = "major-tom-320m-pre-1.0"


class PublishedSource(BaseModel):
    """Where a producer publishes a product: the source of settings that name no root of their own.

    Attributes:
        root: URL of the published tree.
        region: of its bucket.
        endpoint: where its bucket is, if not at Amazon.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    region: str | None = None
    endpoint: str | None = None


class Product(BaseModel):
    """What a file must be to be read as this product.

    Attributes:
        name: key of the registry entry; part of table names.
        grain: one vector per `patch` or per `pixel`.
        layout: which source client reads it.
        dims: length of a vector.
        years: calendar years that this model made on this grid. Files of other years are not read as this product
            where files are listed by year (Earth Genome): they may be of another model.
        pixel_m: pixel pitch in metres (pixel products).
        pixel_deg: pixel pitch of a mosaic in degrees, which is read as pixels of `pixel_m`.
        patch_m: footprint side in metres (patch products; point files get a box of this side).
        years: calendar years that are this product; empty = any.
        next_years: what later years under the same root are: `same` product, or `ask` for an entry of their own.
        quantisation: `signed_square_127.5` (int8 codes) or `none` (float32).
        nodata: stored code that means nodata, for quantised products.
        vector_column: list column that holds the vector.
        vector_columns: format of one column per dimension, e.g. `A{:02d}`; instead of `vector_column`.
        id_column: column with the producer's id, kept as `source_id`.
        geometry_column: geometry of a patch file; None = the file's primary geometry.
        context_m: how far around its footprint the model looked; least buffer between train and test.
        bytes_per_value: bytes that one stored dimension costs.
        collection: STAC collection that a release index must name, where it names one; None = any one.
        trained_on: data sets that the model saw in training, beside its inputs where they may serve as labels too. A
            label source of that name, or with that `dataset`, says so in its provenance.
        published: where it is published; says nothing of what it is, so it is no part of a dump.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    producer: str
    model: str
    grid_version: str
    grain: Grain
    layout: Layout
    dims: int = Field(gt=0)
    pixel_m: float | None = None
    pixel_deg: float | None = None
    patch_m: float | None = None
    years: tuple[int, ...] = ()
    next_years: Literal["same", "ask"] = "ask"
    quantisation: Literal["signed_square_127.5", "none"] = "none"
    nodata: int | None = None
    vector_column: str = "embedding"
    vector_columns: str | None = None
    id_column: str | None = None
    geometry_column: str | None = None
    context_m: float = 0.0
    bytes_per_value: int = 4
    collection: str | None = None
    trained_on: tuple[str, ...] = ()
    published: PublishedSource | None = Field(default=None, exclude=True)
    licence: str
    attribution: str

    @model_validator(mode="after")
    def _check_grain(self) -> Product:
        allowed = PIXEL_LAYOUTS if self.grain == "pixel" else PATCH_LAYOUTS
        if self.layout not in allowed:
            raise ValueError(f"layout '{self.layout}' does not serve grain '{self.grain}'; allowed: {allowed}")
        if self.grain == "patch" and self.patch_m is None:
            raise ValueError("a patch product needs patch_m, the side of a footprint in metres")
        if self.layout == "eg_geoparquet" and self.grid_version != LATTICE_VERSION:
            raise ValueError(
                f"layout 'eg_geoparquet' reads ids of grid_version '{LATTICE_VERSION}' alone, found "
                f"'{self.grid_version}'; use layout 'patch_geoparquet' (docs/sources.md, Another grid)"
            )
        if self.grain == "pixel" and self.pixel_m is None:
            raise ValueError("a pixel product needs pixel_m, the pixel pitch in metres")
        if self.layout == "aef_zarr" and (self.pixel_deg is None or self.nodata is None):
            raise ValueError("layout 'aef_zarr' needs pixel_deg, the pixel pitch of the store in degrees, and nodata")
        return self

    def takes(self, year: int) -> bool:
        """Tell whether the files of a year can be this product."""
        is_next = self.next_years == "same" and bool(self.years) and year > max(self.years)
        return not self.years or year in self.years or is_next

    def names_model(self, stated: str) -> bool:
        """Tell whether the model that a file states is this product's; entries say more, e.g. which token was taken."""
        return stated.casefold() in self.model.casefold() or self.model.casefold() in stated.casefold()

    @property
    def release(self) -> str:
        """Model and grid, as footers carry them: vectors of two releases are never compared."""
        return f"{self.model}; {self.grid_version}"

    @property
    def is_quantised(self) -> bool:
        """Tell whether stored values are int8 codes."""
        return self.quantisation != "none"

    @property
    def is_read_by_zone(self) -> bool:
        """Tell whether each UTM zone is covered by pixels of its own, which end at the zone's edge."""
        return self.layout in ("aef_cog", "aef_zarr")

    @property
    def pixel_column(self) -> str:
        """Column of `core_{product}__pixels` that holds the vector."""
        return "embedding_q" if self.is_quantised else "embedding"

    @property
    def halo_m(self) -> float:
        """How far around a shard patches are read: two sides, so that border pixels see both neighbours."""
        return 2 * (self.patch_m or 0.0)

    @property
    def bytes_per_km2(self) -> float:
        """Bytes of stored vectors per square kilometre of ground, one layer, uncompressed.

        Earth Genome's two lattices cover the ground twice; other patch products once.
        """
        size = self.dims * self.bytes_per_value
        if self.grain == "pixel":
            assert self.pixel_m is not None
            return size * 1e6 / self.pixel_m**2
        assert self.patch_m is not None
        layers = 2 if self.layout == "eg_geoparquet" else 1
        return layers * size * 1e6 / self.patch_m**2


def join_releases(products: Sequence[Product]) -> str:
    """Name the releases behind rows that derive from several products, as footers carry them."""
    return " + ".join(product.release for product in products)


def load_registry(extra: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Product]:
    """Read `warehouse/products.toml` and add the entries of a settings file, which win field by field.

    Args:
        extra: tables of the settings file, by product name; those of a registered product may name some fields alone.

    Returns:
        Product by name.

    Raises:
        pydantic.ValidationError: an entry has unknown fields or impossible values.
    """
    entries = registered_entries()
    entries |= {name: {**entries.get(name, {}), **entry} for name, entry in (extra or {}).items()}
    return {name: Product(name=name, **entry) for name, entry in entries.items()}


def fill_source(name: str, source: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Give a source without a root the one where its product is published, if there is one.

    Args:
        name: of the product.
        source: `[sources.<name>]`, as it stands in the settings file.
        entries: `[products]` of the file, unchecked.
    """
    own = entries.get(name)
    merged = {**registered_entries().get(name, {}), **(own if isinstance(own, Mapping) else {})}
    published = merged.get("published")
    if "root" in source or not isinstance(published, Mapping):
        return dict(source)
    return {**published, **source}


def registered_entries() -> dict[str, Mapping[str, Any]]:
    """Read `warehouse/products.toml`: fields by product name, unchecked."""
    with (Path(__file__).parent / "products.toml").open("rb") as file:
        return dict(tomllib.load(file))


def spell_entry(product: Product, name: str, **changes: object) -> str:
    """Spell the registry entry of a product that is like another one.

    Args:
        product: the registered product that it resembles.
        name: of the new entry.
        changes: fields that differ.

    Returns:
        A TOML table `[products.<name>]`, to be pasted into a settings file.
    """
    entry = product.model_dump(exclude={"name"}, exclude_defaults=True, mode="json") | changes
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "\n".join([f"[products.{name}]", *lines])


def find_product(registry: Mapping[str, Product], name: str) -> Product:
    """Look a product up.

    Raises:
        UnknownProductError: no such entry; the message lists those that exist.
    """
    if name not in registry:
        raise UnknownProductError(name, list(registry))
    return registry[name]
