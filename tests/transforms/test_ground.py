from __future__ import annotations

import numpy as np
import pyproj
import pytest

from transforms.ground import arc_m, earth_xyz

GEOD = pyproj.Geod(ellps="WGS84")


@pytest.mark.parametrize(("reach_m", "error"), [(2000.0, 1e-7), (50_000.0, 1e-5), (3_000_000.0, 4e-3)])
def test_chords_and_arcs_agree_with_the_geodesic(reach_m: float, error: float) -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, 200), rng.uniform(-70, 70, 200)
    to_lon, to_lat, _ = GEOD.fwd(lon, lat, rng.uniform(0, 360, 200), np.full(200, reach_m))
    chord = np.linalg.norm(earth_xyz(lon, lat) - earth_xyz(to_lon, to_lat), axis=1)
    assert arc_m(chord) == pytest.approx(np.full(200, reach_m), rel=error)
    assert (chord <= reach_m).all()
