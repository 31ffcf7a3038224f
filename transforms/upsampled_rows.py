"""Upsampling of a shard: the field of patches around it, and the rows of `out_pixel__{product}_upsampled`.

Belongs here: choosing the coordinates in which a product's patches form rows, Arrow columns. Does not: the
operators (`transforms/upsampling/`), reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.alignment import take_or
from transforms.errors import LatticeError
from transforms.keeping import vector_array
from transforms.places import PatchPlaces, PixelPlaces
from transforms.quantization import NODATA
from transforms.upsampling.basis import Basis, basis_table, encode, fit_basis, project, reduction_loss
from transforms.upsampling.bilinear import bilinear_weights
from transforms.upsampling.nearest import nearest_index
from transforms.upsampling.operators import UPSAMPLERS, Upsampler, find_upsampler
from transforms.upsampling.rows import RowLattice, eg_rows, grid_rows
from transforms.utm import project as project_points

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PatchField:
    """Patch vectors of one year in and around an area.

    Attributes:
        places: where they are; all on the Earth Genome lattice, or all footprints of their own in one zone.
        vectors: float32 (n, dims).
        is_simulated: True if any of them is.
    """

    places: PatchPlaces
    vectors: npt.NDArray[np.float32]
    is_simulated: bool

    @property
    def on_lattice(self) -> bool:
        """Tell whether the patches stand on the Earth Genome lattice."""
        return bool(len(self.places)) and self.places.lattice[0] != "own"

    def rows(self) -> RowLattice:
        """Give the rows that the patches form: by longitude and latitude on the lattice, else by metres.

        Raises:
            LatticeError: footprints of several UTM zones, or no regular grid.
        """
        places = self.places
        if self.on_lattice:
            return eg_rows(places.lattice == "secondary", places.row, places.lon, places.lat)
        zones = np.unique(places.epsg)
        if len(zones) != 1:
            raise LatticeError(
                "patches to upsample",
                f"footprints in {len(zones)} UTM zones",
                "one regular grid in one zone",
                "Upsample one zone at a time, or leave T5 out of evaluate.tasks.",
            )
        return grid_rows(places.x_m, places.y_m)

    def coordinates(self, pixels: PixelPlaces) -> tuple[FloatArray, FloatArray]:
        """Give the pixels in the coordinates of `rows`."""
        if self.on_lattice:
            return pixels.lon, pixels.lat
        epsg = int(self.places.epsg[0])
        if (pixels.epsg == epsg).all():
            return pixels.x_m, pixels.y_m
        return project_points(pixels.lon, pixels.lat, epsg)


def basis_rows(vectors: npt.NDArray[np.float32], k: int, *, seed: int, is_simulated: bool) -> pa.Table:
    """Fit a basis and give the rows of `out_patch__{product}_basis`: one a component, the loss of the whole on each.

    Args:
        vectors: float32 (n, dims), a draw of the year's patches; none gives no rows.
        k: components.
        seed: of the fit.
        is_simulated: goes into the column of that name.
    """
    if not len(vectors):
        # a basis of anything has the columns; none of its rows is given
        anything = np.eye(vectors.shape[1], dtype=np.float32)
        return basis_rows(anything, k, seed=seed, is_simulated=is_simulated).slice(0, 0)
    basis = fit_basis(vectors, k, seed=seed)
    loss = reduction_loss(vectors, basis)
    table = basis_table(basis)
    for name in ("explained_share", "mean_cosine", "worst_cosine", "quantisation_share"):
        table = table.append_column(name, pa.array(np.full(basis.k, getattr(loss, name), np.float32)))
    return table.append_column("is_simulated", pa.array(np.full(basis.k, is_simulated)))


def stored_methods(operators: Sequence[str]) -> tuple[str, ...]:
    """Give the operators whose vectors are stored: bilinear, and those that learn nothing.

    `nearest` is stored as the key of the patch (a view joins the vector); fitted operators are fitted in each
    training fold, so no vector of theirs is true for all.
    """
    listed = {find_upsampler(name).name for name in ("bilinear", *operators)} - {"nearest"}
    return tuple(name for name, entry in UPSAMPLERS.items() if name in listed and not entry.is_fitted)


class UpsampledRows:
    """Makes the rows of `out_pixel__{product}_upsampled` for any pixels of one field, operator by operator.

    Linear operators go through the basis before they interpolate: k dimensions instead of all.

    Args:
        field: patches of the shard and around it; at least one.
        methods: from `stored_methods`.
        basis: dimensions in which windows are stored.
        product: goes into the `product` column.
    """

    def __init__(self, field: PatchField, methods: Sequence[str], basis: Basis, product: str) -> None:
        self._field = field
        self._basis = basis
        self._product = product
        self._rows = field.rows()
        self._full: dict[str, Upsampler] = {}
        self._reduced: dict[str, Upsampler] = {}
        reduced = project(field.vectors, basis)
        for name in methods:
            build = find_upsampler(name).build
            self._full[name] = build().fit(self._rows, field.vectors)
            self._reduced[name] = build().fit(self._rows, reduced)

    def tables(
        self, pixels: PixelPlaces, in_sample: npt.NDArray[np.bool_], window: npt.NDArray[np.object_]
    ) -> Iterator[pa.Table]:
        """Give the rows of some pixels, one table a method; pixels without support are left out.

        Args:
            pixels: the pixels.
            in_sample: bool (m,), pixels that get full vectors.
            window: (m,), name of the window or None; pixels of windows get codes.

        Yields:
            Tables with the columns of the schema.
        """
        if not len(pixels):
            return
        u, v = self._field.coordinates(pixels)
        _, _, support = bilinear_weights(self._rows, u, v)
        nearest = nearest_index(self._rows, u, v).astype(np.int64)
        in_window = np.array([name is not None for name in window], bool)
        for name, upsampler in self._full.items():
            vectors = _transform_chosen(upsampler, u, v, in_sample, self._field.vectors.shape[1])
            reduced = _transform_chosen(self._reduced[name], u, v, in_window, self._basis.k)
            kept = np.flatnonzero(np.isfinite(vectors[:, 0]) | np.isfinite(reduced[:, 0]))
            columns = {
                "support": support[kept],
                **self._nearest_column(nearest[kept]),
                "window": pa.array(window[kept].tolist(), pa.string()),
                **self._vector_columns(vectors[kept], encode(reduced[kept], self._basis)),
            }
            yield self._table(name, pixels.take(kept), columns)

    def _nearest_column(self, nearest: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        ids = take_or(self._field.places.patch_id, nearest, 0)
        return {"nearest_patch_id": pa.array(ids, pa.uint64(), mask=nearest < 0)}

    def _vector_columns(self, vectors: npt.NDArray[np.float32], codes: npt.NDArray[np.int8]) -> dict[str, pa.Array]:
        is_coded = codes[:, 0] != NODATA
        return {
            "embedding": vector_array(vectors, is_present=np.isfinite(vectors[:, 0])),
            "embedding_q": vector_array(codes, is_present=is_coded),
            "basis_version": pa.array([self._basis.version] * len(codes), pa.string(), mask=~is_coded),
        }

    def _table(self, method: str, places: PixelPlaces, columns: dict[str, pa.Array]) -> pa.Table:
        count = len(places)
        return pa.table(
            {
                "pixel_id": places.pixel_id,
                "product": pa.array([self._product] * count, pa.string()),
                "method": pa.array([method] * count, pa.string()),
                "lon": places.lon,
                "lat": places.lat,
                **columns,
                "is_simulated": np.full(count, self._field.is_simulated),
            }
        )


def _transform_chosen(
    upsampler: Upsampler, u: FloatArray, v: FloatArray, chosen: npt.NDArray[np.bool_], dims: int
) -> npt.NDArray[np.float32]:
    """Give vectors at chosen points, NaN rows elsewhere."""
    vectors = np.full((len(u), dims), np.nan, np.float32)
    if chosen.any():
        vectors[chosen] = upsampler.transform(u[chosen], v[chosen])
    return vectors
