"""The stored basis: patch vectors as codes of k dimensions, so that an upsampled pixel costs what a native one does.

Belongs here: fitting, projecting, coding, what the reduction loses, and the basis as a table. Does not: interpolation
(`dense.py`), storage. A basis serves maps and search, never evidence: it has seen all patches, those of test blocks
included.

Rules, stated once:

* A row with any NaN or infinite element is missing: NaN after `project`, -128 after `encode`, NaN after `decode`.
* Components beyond what the patches span (fewer patches than k, constant vectors) are zeros, with scale 1: their
  codes are 0, and the width is always k.
* Codes are those of `transforms/quantization.py`, of projected / scale. A component's largest magnitude in the sample
  has the largest code; what is larger elsewhere is cut to that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit
from sklearn.decomposition import PCA

from transforms.errors import IsthmusError, ShapeError, TooFewUnitsError
from transforms.quantization import DIVISOR, MAX_CODE, NODATA, dequantize

Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]

#: Width of the codes of a native pixel.
NATIVE_DIMS = 64
#: Vectors that a basis is fitted on at most: a random sample of all patches.
SAMPLE_VECTORS = 20_000
#: Components whose standard deviation is a smaller share of the first one's are rounding, not signal.
_LEAST_DEVIATION = 1e-6
_VERSION_CHARS = 16
#: Added to and taken from a small float32, it leaves the nearest integer, ties to even; compilers make vectors of it.
_ROUNDER = 1.5 * 2**23


class BasisVersionError(IsthmusError):
    """A stored basis is not the one that its version names. Permanent."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(
            f"basis: found content of version {found}, expected {expected}. "
            "Was the table edited? Fit the basis again and write its codes again."
        )


@dataclass(frozen=True, eq=False)
class Basis:
    """An affine map from d dimensions to k, and the scale of its codes.

    Attributes:
        components: float32 (k, d), orthonormal rows by falling variance; zero rows beyond the rank.
        mean: float32 (d,).
        scale: float32 (k,), above 0; a projected value of `scale` has code 127.5.
        explained: float32 (k,), share of the sample's variance in each component.
    """

    components: Float32Array
    mean: Float32Array
    scale: Float32Array
    explained: Float32Array

    @property
    def k(self) -> int:
        """Number of components."""
        return len(self.components)

    @property
    def dims(self) -> int:
        """Width of the vectors that it reduces."""
        return len(self.mean)

    @property
    def explained_share(self) -> float:
        """Share of the sample's variance in all components; 1 if the sample has no variance."""
        return float(self.explained.sum(dtype=np.float64))

    @property
    def version(self) -> str:
        """Hash of the numbers: 16 hexadecimal characters. Equal bases have equal versions."""
        digest = hashlib.sha256(f"{self.k} {self.dims}".encode())
        for array in (self.components, self.mean, self.scale):
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()[:_VERSION_CHARS]


@dataclass(frozen=True)
class ReductionLoss:
    """What a basis and its codes lose, measured on complete vectors.

    Attributes:
        n_vectors: complete vectors.
        explained_share: share of the variance about the mean of these vectors that `project` keeps.
        mean_cosine: mean cosine of a vector and its reconstruction from codes.
        worst_cosine: smallest such cosine.
        quantisation_share: share of the squared error that the codes add; the rest is the reduction's.
    """

    n_vectors: int
    explained_share: float
    mean_cosine: float
    worst_cosine: float
    quantisation_share: float


def fit_basis(vectors: Float32Array, k: int = NATIVE_DIMS, *, seed: int, sample: int = SAMPLE_VECTORS) -> Basis:
    """Fit a basis: principal components of a random sample of patch vectors.

    The largest loading of each component is positive, so that a refit on the same vectors gives the same basis.
    Source: Jolliffe 2002, Principal Component Analysis, ch. 1-3.

    Args:
        vectors: float32 (n, d); incomplete rows are left out.
        k: dimensions to keep, at most d.
        seed: of the sample.
        sample: largest number of vectors to fit on.

    Returns:
        The basis.

    Raises:
        ShapeError: k is not in 1 to d, or `vectors` are not (n, d).
        TooFewUnitsError: no vector is complete.
    """
    if vectors.ndim != 2:
        raise ShapeError("vectors of a basis", vectors.shape, "(n, d)", "")
    dims = vectors.shape[1]
    if not 1 <= k <= dims:
        raise ShapeError("dimensions of a basis", k, f"1 to {dims}, the width of the vectors", f"Set it to {dims}.")
    complete = vectors[np.isfinite(vectors).all(axis=1)]
    if not len(complete):
        raise TooFewUnitsError(
            "complete vectors for a basis", 0, "at least 1", "Are there patches with vectors in this area and year?"
        )
    if len(complete) > sample:
        chosen = np.random.default_rng(seed).choice(len(complete), sample, replace=False)
        complete = complete[np.sort(chosen)]
    return _fit_components(complete.astype(np.float64), k)


def _fit_components(vectors: npt.NDArray[np.float64], k: int) -> Basis:
    dims = vectors.shape[1]
    mean = vectors.mean(axis=0)
    components, explained = np.zeros((k, dims)), np.zeros(k)
    variance = float(np.square(vectors - mean).sum())
    # rounding of the mean must not count as variance
    if variance > len(vectors) * _LEAST_DEVIATION**2 * float(np.square(mean).sum()):
        found = PCA(n_components=min(k, len(vectors)), svd_solver="full").fit(vectors)
        deviation = found.singular_values_
        rank = int((deviation > _LEAST_DEVIATION * deviation[0]).sum())
        largest = np.abs(found.components_).argmax(axis=1)
        sign = np.sign(np.take_along_axis(found.components_, largest[:, None], axis=1))
        components[:rank] = (found.components_ * sign)[:rank]
        explained[:rank] = np.square(deviation[:rank]) / variance
    else:
        explained[0] = 1.0
    magnitude = np.abs((vectors - mean) @ components.T).max(axis=0)
    scale = np.where(magnitude > 0, magnitude * (DIVISOR / MAX_CODE) ** 2, 1.0)
    return Basis(*(a.astype(np.float32) for a in (components, mean, scale, explained)))


def project(vectors: Float32Array, basis: Basis) -> Float32Array:
    """Reduce vectors: ``(x - mean) @ components.T``.

    Args:
        vectors: float32 (n, d).
        basis: of width d.

    Returns:
        float32 (n, k); NaN rows where a vector is incomplete.

    Raises:
        ShapeError: the vectors have another width.
    """
    _check_width("vectors to reduce", vectors, basis.dims, basis)
    # the mean is taken off after the product: no second array of the size of the vectors
    reduced = np.asarray(vectors, np.float32) @ basis.components.T - basis.components @ basis.mean
    reduced[~np.isfinite(reduced).all(axis=1)] = np.nan
    return np.asarray(reduced, np.float32)


def encode(projected: Float32Array, basis: Basis, out: Int8Array | None = None) -> Int8Array:
    """Turn reduced vectors into codes: ``quantize(projected / scale)``.

    Args:
        projected: float32 (n, k).
        basis: with k components.
        out: int8 (n, k), C-contiguous, changed and returned; a new array if not given.

    Returns:
        int8 (n, k); -128 in all of a row with any NaN.

    Raises:
        ShapeError: the vectors have another width, or `out` does not fit.
    """
    _check_width("reduced vectors to encode", projected, basis.k, basis)
    if out is None:
        out = np.empty(projected.shape, np.int8)
    if out.shape != projected.shape or out.dtype != np.int8:
        raise ShapeError("out array of codes", f"{out.dtype} {out.shape}", f"int8 {projected.shape}", "")
    _encode_rows(np.ascontiguousarray(projected, np.float32), basis.scale, out)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _encode_rows(projected: Float32Array, scale: Float32Array, out: Int8Array) -> None:
    """Fill codes row by row; the same float32 arithmetic as `quantization.quantize`, in one pass.

    Scales are above 0; numba's own check of that would keep the loop from being vectorised.
    """
    divisor, most, rounder = np.float32(DIVISOR), np.float32(MAX_CODE), np.float32(_ROUNDER)
    for i in range(projected.shape[0]):
        n_missing = np.int32(0)
        for j in range(projected.shape[1]):
            x = projected[i, j] / scale[j]
            size = np.sqrt(abs(x)) * divisor
            size = most if size > most else size
            size = (size + rounder) - rounder
            out[i, j] = np.int8(np.int32(-size if x < 0 else size))
            n_missing += np.int32(x != x)
        if n_missing:
            out[i] = NODATA


def decode(codes: Int8Array, basis: Basis) -> Float32Array:
    """Turn codes into reduced vectors: ``dequantize(codes) * scale``.

    Args:
        codes: int8 (n, k).
        basis: the one that they were encoded with.

    Returns:
        float32 (n, k); NaN at -128.

    Raises:
        ShapeError: the codes have another width.
    """
    _check_width("codes to decode", codes, basis.k, basis)
    return dequantize(codes) * basis.scale


def reconstruct(projected: Float32Array, basis: Basis) -> Float32Array:
    """Give vectors of full width: ``projected @ components + mean``.

    Args:
        projected: float32 (n, k), from `project` or `decode`.
        basis: the one that reduced them.

    Returns:
        float32 (n, d); NaN rows where `projected` has any.

    Raises:
        ShapeError: the reduced vectors have another width.
    """
    _check_width("reduced vectors", projected, basis.k, basis)
    return np.asarray(projected @ basis.components + basis.mean, np.float32)


def reduction_loss(vectors: Float32Array, basis: Basis) -> ReductionLoss:
    """Measure what is lost between vectors and what their codes give back.

    Args:
        vectors: float32 (n, d); incomplete rows are left out.
        basis: of width d.

    Returns:
        The loss.

    Raises:
        ShapeError: the vectors have another width.
        TooFewUnitsError: no vector is complete.
    """
    _check_width("vectors to measure the loss on", vectors, basis.dims, basis)
    complete = vectors[np.isfinite(vectors).all(axis=1)]
    if not len(complete):
        raise TooFewUnitsError("complete vectors to measure the loss on", 0, "at least 1", "Pass patches with vectors.")
    projected = project(complete, basis)
    given_back = reconstruct(decode(encode(projected, basis), basis), basis).astype(np.float64)
    exact = complete.astype(np.float64)
    lost = np.square(exact - reconstruct(projected, basis)).sum()
    error = np.square(exact - given_back).sum()
    variance = np.square(exact - exact.mean(axis=0)).sum()
    length = np.linalg.norm(exact, axis=1) * np.linalg.norm(given_back, axis=1)
    # a vector of zeros has no direction: it counts as kept if zeros come back
    is_kept = np.isclose(exact, given_back).all(axis=1)
    dot = (exact * given_back).sum(axis=1)
    cosine = np.where(length > 0, dot / np.where(length > 0, length, 1.0), is_kept)
    return ReductionLoss(
        n_vectors=len(complete),
        explained_share=1.0 - float(lost / variance) if variance > 0 else 1.0,
        mean_cosine=float(cosine.mean()),
        worst_cosine=float(cosine.min()),
        quantisation_share=float(max(0.0, 1.0 - lost / error)) if error > 0 else 0.0,
    )


def basis_table(basis: Basis) -> pa.Table:
    """Give a basis as rows: one a component, the mean on each, so that SQL can decode codes.

    Returns:
        Columns basis_version (string), component (int16), scale (float), explained (float), loading and mean
        (fixed-size lists of d floats).
    """
    k = basis.k
    loading = pa.FixedSizeListArray.from_arrays(pa.array(basis.components.ravel(), pa.float32()), basis.dims)
    mean = pa.FixedSizeListArray.from_arrays(pa.array(np.tile(basis.mean, k), pa.float32()), basis.dims)
    return pa.table(
        {
            "basis_version": pa.array([basis.version] * k, pa.string()),
            "component": pa.array(np.arange(k), pa.int16()),
            "scale": pa.array(basis.scale, pa.float32()),
            "explained": pa.array(basis.explained, pa.float32()),
            "loading": loading,
            "mean": mean,
        }
    )


def basis_from_table(table: pa.Table) -> Basis:
    """Give the basis that `basis_table` made a table of; rows may come in any order.

    Raises:
        BasisVersionError: the numbers are not those of the version.
        ShapeError: there is no row, or rows of several bases.
    """
    versions = table["basis_version"].unique().to_pylist()
    if len(versions) != 1:
        raise ShapeError("basis table", f"versions {versions}", "one version", "Filter it by basis_version.")
    table = table.sort_by("component").combine_chunks()

    def read_lists(name: str) -> Float32Array:
        lists = table[name].chunk(0)
        return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(table.num_rows, -1)

    basis = Basis(
        components=read_lists("loading"),
        mean=read_lists("mean")[0],
        scale=table["scale"].to_numpy().astype(np.float32),
        explained=table["explained"].to_numpy().astype(np.float32),
    )
    if basis.version != versions[0]:
        raise BasisVersionError(basis.version, versions[0])
    return basis


def _check_width(what: str, array: npt.NDArray[np.generic], width: int, basis: Basis) -> None:
    if array.ndim != 2 or array.shape[1] != width:
        raise ShapeError(what, array.shape, f"(n, {width}) for basis {basis.version}", "Use the basis of this product.")
