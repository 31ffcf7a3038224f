from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest

from transforms.previews import draw_places


def picture(lon: np.ndarray, lat: np.ndarray, values: np.ndarray) -> np.ndarray:
    data = draw_places(lon, lat, values)
    assert data.startswith(b"\x89PNG")
    return matplotlib.image.imread(io.BytesIO(data))


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = np.meshgrid(np.linspace(102.0, 102.1, n), np.linspace(12.0, 12.1, n))
    return lon.ravel(), lat.ravel()


def brightness(pixels: np.ndarray) -> float:
    """Viridis runs from dark blue to yellow."""
    return float(pixels[..., :3].sum(axis=-1).mean())


def test_north_is_up_and_east_is_right() -> None:
    lon, lat = grid(40)
    northern = picture(lon, lat, lat)
    half = northern.shape[0] // 2
    assert brightness(northern[:half]) > brightness(northern[half:]) + 0.3
    eastern = picture(lon, lat, lon)
    half = eastern.shape[1] // 2
    assert brightness(eastern[:, half:]) > brightness(eastern[:, :half]) + 0.3


def test_places_without_data_are_white() -> None:
    lon, lat = grid(40)
    values = np.where(lon > 102.05, np.nan, lat)
    # without the eastern places the frame would shrink to what is left, so one corner stays
    values[np.argmax(lon + lat)] = 12.0
    pixels = picture(lon, lat, values)
    middle_east = pixels[pixels.shape[0] // 3 : pixels.shape[0] // 2, -pixels.shape[1] // 4 :]
    assert (middle_east[..., :3] == 1).all()
    assert brightness(pixels[:, : pixels.shape[1] // 4]) < 2.5


def test_the_mean_of_a_cell_is_drawn() -> None:
    # two values in one place give the colour of their mean: same picture as the mean itself
    lon, lat = grid(30)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=len(lon))
    twice = picture(np.tile(lon, 2), np.tile(lat, 2), np.concatenate([lat + noise, lat - noise]))
    once = picture(np.tile(lon, 2), np.tile(lat, 2), np.tile(lat, 2))
    assert np.abs(twice - once).max() < 0.02


@pytest.mark.parametrize("values", [np.full(4, np.nan), np.full(4, 3.0), np.array([np.inf, 1, 2, 3])])
def test_odd_values_are_drawn(values: np.ndarray) -> None:
    pixels = picture(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]), values)
    assert pixels.shape[1] == 320
    assert (pixels[..., :3] == 1).all() == bool(np.isnan(values).all())


@pytest.mark.parametrize("n", [0, 1])
def test_few_places_are_drawn(n: int) -> None:
    pixels = picture(np.full(n, 102.0), np.full(n, 12.0), np.full(n, 5.0))
    assert ((pixels[..., :3] != 1).any(axis=-1).sum() > 0) == (n > 0)


def test_a_wide_area_is_a_wide_picture() -> None:
    lon, lat = grid(40)
    pixels = picture(lon * 4, lat, lat)
    assert pixels.shape[1] > 3 * pixels.shape[0]


def test_pictures_are_320_px_wide_whatever_the_number_of_places() -> None:
    lon, lat = grid(170)
    assert picture(lon, lat, lat).shape[1] == 320
