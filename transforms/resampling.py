"""How a raster in degrees was made from UTM pixels, told by its codes alone.

Belongs here: the evidence of one box of pixels. Does not: choosing and reading boxes (`warehouse/mosaic_evidence.py`).

Two neighbours whose centres lie in one UTM pixel are that pixel twice where the nearest pixel was taken, so their codes
are equal; an interpolation gives two different vectors. Means of vectors, or of their codes, are shorter than unit
length. What cannot be told: which interpolation it was, and whether all pixels were moved to one side by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.quantization import NODATA, dequantize

Float64Array = npt.NDArray[np.float64]
Rule = Literal["nearest", "interpolated or averaged", "mixed", "cannot be told"]

#: Fewer pairs say nothing.
_LEAST_PAIRS = 50
#: Shares of equal pairs from and up to which a rule is named. Nearest pixels that were found through interpolated
#: coordinates miss a few; neighbours on open water may be equal by chance.
_NEAREST_FROM, _OTHER_UP_TO = 0.9, 0.1
#: Vectors of the producer are within 0.006 of unit length, codes add as much.
_LENGTH_TOLERANCE = 0.03


@dataclass(frozen=True)
class ResamplingEvidence:
    """What the codes of some pixels say.

    Attributes:
        n_pixels: valid pixels.
        n_pairs: pairs of valid neighbours, to the east and to the south, whose centres lie in one UTM pixel.
        n_equal: of these, pairs with equal codes.
        n_off_length: valid pixels whose vector is off unit length by more than 0.03.
    """

    n_pixels: int
    n_pairs: int
    n_equal: int
    n_off_length: int

    @property
    def rule(self) -> Rule:
        """How the pixels were made."""
        if self.n_pairs < _LEAST_PAIRS:
            return "cannot be told"
        share = self.n_equal / self.n_pairs
        return "nearest" if share >= _NEAREST_FROM else "interpolated or averaged" if share <= _OTHER_UP_TO else "mixed"

    def __add__(self, other: ResamplingEvidence) -> ResamplingEvidence:
        """Join the evidence of two boxes."""
        return ResamplingEvidence(
            self.n_pixels + other.n_pixels,
            self.n_pairs + other.n_pairs,
            self.n_equal + other.n_equal,
            self.n_off_length + other.n_off_length,
        )


def examine_codes(
    codes: npt.NDArray[np.int8], x_m: Float64Array, y_m: Float64Array, pixel_m: float
) -> ResamplingEvidence:
    """Look for repeated pixels and for vectors that are not of unit length.

    Args:
        codes: int8 (band, height, width); -128 = nodata.
        x_m: float64 (height, width), centres in the UTM zone of the ground, metres.
        y_m: float64 (height, width).
        pixel_m: pitch of the UTM pixels, which lie on multiples of it.
    """
    is_valid = (codes != NODATA).all(axis=0)
    column, row = np.floor(x_m / pixel_m), np.floor(y_m / pixel_m)
    n_pairs = n_equal = 0
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        is_pair = is_valid[first] & is_valid[second]
        is_pair &= (column[first] == column[second]) & (row[first] == row[second])
        is_equal = (codes[(slice(None), *first)] == codes[(slice(None), *second)]).all(axis=0)
        n_pairs += int(is_pair.sum())
        n_equal += int((is_pair & is_equal).sum())
    length = np.linalg.norm(dequantize(codes[:, is_valid]), axis=0)
    is_off = np.abs(length - 1.0) > _LENGTH_TOLERANCE
    return ResamplingEvidence(int(is_valid.sum()), n_pairs, n_equal, int(is_off.sum()))
