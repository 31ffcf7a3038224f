"""`isthmus upsample`: the raster of a window against the stored rows of the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.conftest import TinyRun
from transforms.errors import IsthmusError, ShapeError
from transforms.upsampling.basis import decode, reconstruct
from transforms.upsampling.operators import UnknownUpsamplerError
from transforms.utm import project
from warehouse.errors import PartitionMissingError, SourceMissingError
from warehouse.fields import read_basis
from warehouse.reader import vectors
from warehouse.window_raster import LearningOperatorError, WindowRequest, upsample_to_raster, window_grid

BOX = (102.001, 12.635, 102.015, 12.647)


def write(run: TinyRun, path: Path, **changes: object):
    request = WindowRequest(**{"year": 2024, "bbox": BOX, "output": path, **changes})  # type: ignore[arg-type]
    return upsample_to_raster(run.warehouse, request, lambda _share, _text: None)


def sampled_rows(run: TinyRun, method: str):
    """Stored full vectors inside the window, with their place in zone 48N."""
    table = run.sql(
        "select u.lon, u.lat, u.embedding from out_pixel__eg_upsampled as u "
        "where u.year = 2024 and u.method = $method and u.embedding is not null "
        "and u.lon between 102.0012 and 102.0148 and u.lat between 12.6352 and 12.6468",
        method=method,
    )
    x, y = project(table["lon"].to_numpy(), table["lat"].to_numpy(), 32648)
    return x, y, vectors(table, "embedding")


def at_pixels(dataset, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of the pixels that hold points, (n, band)."""
    col, row = ~dataset.transform @ (x, y)
    return dataset.read()[:, np.floor(row).astype(int), np.floor(col).astype(int)].T


@pytest.mark.parametrize("operator", ["bilinear", "mass_preserving"])
def test_full_vectors_are_those_of_the_stored_rows(tiny_run: TinyRun, tmp_path: Path, operator: str) -> None:
    summary = write(tiny_run, tmp_path / "full.tif", operator=operator, full=True)
    x, y, stored = sampled_rows(tiny_run, operator)
    on_grid = np.isclose(x % 10, 5, atol=1e-3) & np.isclose(y % 10, 5, atol=1e-3)
    assert on_grid.sum() > 50  # sampled pixels of zone 48N stand at the centres of the raster's pixels
    with rasterio.open(summary.path) as dataset:
        found = at_pixels(dataset, x[on_grid], y[on_grid])
        assert dataset.dtypes[0] == "float32"
        assert np.isnan(dataset.nodata)
        assert dataset.tags()["IS_SIMULATED"] == "true"
    np.testing.assert_allclose(found, stored[on_grid], atol=2e-3)
    assert (summary.bands, summary.epsg, summary.is_simulated) == (384, 32648, True)
    assert summary.missing_share < 0.05


def test_codes_give_the_full_vectors_back_as_far_as_the_basis_goes(tiny_run: TinyRun, tmp_path: Path) -> None:
    summary = write(tiny_run, tmp_path / "codes.tif")
    basis = read_basis(tiny_run.warehouse, tiny_run.warehouse.products["eg"], 2024)
    x, y, stored = sampled_rows(tiny_run, "bilinear")
    on_grid = np.isclose(x % 10, 5, atol=1e-3)
    with rasterio.open(summary.path) as dataset:
        codes = at_pixels(dataset, x[on_grid], y[on_grid])
        tags = dataset.tags()
        assert dataset.nodata == -128
        assert dataset.transform.e < 0
    assert codes.dtype == np.int8
    assert tags["BASIS_VERSION"] == summary.basis_version == basis.version
    assert tags["OPERATOR"] == "bilinear"
    assert "Earth" in tags["ATTRIBUTION"]
    scale = np.array([float(word) for word in tags["BASIS_SCALE"].split()], np.float32)
    values = scale * np.sign(codes) * (codes / np.float32(127.5)) ** 2  # as the tags say
    np.testing.assert_allclose(values, decode(codes, basis), rtol=1e-5)
    back = reconstruct(values.astype(np.float32), basis)
    expected = (stored[on_grid] - basis.mean) @ basis.components.T @ basis.components + basis.mean
    # int8: half a step of the largest code
    assert np.abs(back - expected).max() < 0.05 * np.abs(expected).max()


def test_strips_leave_no_seam(tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tiny_run, tmp_path / "whole.tif")
    monkeypatch.setattr("warehouse.window_raster._STRIP_BYTES", 1)  # 16 rows at once
    parts = write(tiny_run, tmp_path / "parts.tif")
    with rasterio.open(whole.path) as one, rasterio.open(parts.path) as two:
        difference = one.read().astype(int) - two.read().astype(int)
    assert np.abs(difference).max() <= 1  # a tie of rounding at most
    assert (difference != 0).mean() < 1e-3


def test_ground_far_from_every_patch_is_nodata(tiny_run: TinyRun, tmp_path: Path) -> None:
    west, south, east, _ = BOX
    summary = write(tiny_run, tmp_path / "tall.tif", bbox=(west, south, east, 12.75))
    assert summary.missing_share > 0.5
    with rasterio.open(summary.path) as dataset:
        assert (dataset.read(window=((0, 300), (0, dataset.width))) == -128).all()
        assert (dataset.read()[:, -50:] != -128).any()


def test_the_grid_holds_the_box_and_stands_on_whole_pitches() -> None:
    grid = window_grid(BOX, 10.0)
    assert grid.epsg == 32648
    assert (grid.affine.c % 10, grid.affine.f % 10) == (0, 0)
    x, y = project(np.array([BOX[0], BOX[2]]), np.array([BOX[1], BOX[3]]), 32648)
    assert grid.affine.c <= x.min()
    assert grid.affine.c + 10 * grid.width >= x.max()
    assert grid.affine.f >= y.max()
    assert grid.affine.f - 10 * grid.height <= y.min()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"operator": "bilinar"}, UnknownUpsamplerError, "Did you mean bilinear"),
        ({"operator": "conv_head"}, LearningOperatorError, "learns from labels"),
        ({"operator": "attention"}, LearningOperatorError, "learns from guide"),
        ({"operator": "area_to_point_kriging"}, LearningOperatorError, "learns from patches"),
        ({"year": 2019}, PartitionMissingError, r"2019 \(stored years: \[2024\]\)"),
        ({"bbox": (10.0, 50.0, 10.1, 50.1)}, SourceMissingError, "no patch of"),
        ({"bbox": (102.1, 12.6, 102.0, 12.7)}, ShapeError, "west < east"),
        ({"bbox": (102.0, 12.6, 102.0, 12.7)}, ShapeError, "west < east"),
        ({"pixel_m": 0.0}, ShapeError, "metres above 0"),
        ({"pixel_m": 0.001}, ShapeError, "at most 65536 a side"),
    ],
)
def test_bad_requests_say_what_is_wrong_and_write_nothing(
    tiny_run: TinyRun, tmp_path: Path, changes: dict[str, object], error: type[IsthmusError], words: str
) -> None:
    with pytest.raises(error, match=words):
        write(tiny_run, tmp_path / "never.tif", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_stopped_leaves_the_old_file(tiny_run: TinyRun, tmp_path: Path) -> None:
    path = tmp_path / "kept.tif"
    path.write_bytes(b"old")

    def stop(share: float, _text: str) -> None:
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upsample_to_raster(tiny_run.warehouse, WindowRequest(2024, BOX, output=path), stop)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
