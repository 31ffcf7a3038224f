from __future__ import annotations

import numpy as np

from transforms.codebook_rows import codebook_table, codebooks_from_table
from transforms.pooling.pixels import Codebook


def test_codebooks_come_back_as_they_were_whatever_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    books = {
        name: Codebook(rng.normal(size=(size, 6)).astype(np.float32), f"v-{name}")
        for name, size in (("vlad", 4), ("bow", 7))
    }
    table = codebook_table(books, is_simulated=True)
    assert table.num_rows == 11
    assert table["is_simulated"].to_pylist() == [True] * 11
    shuffled = table.take(rng.permutation(11))
    found = codebooks_from_table(shuffled)
    assert set(found) == {"vlad", "bow"}
    for name, book in books.items():
        np.testing.assert_array_equal(found[name].centers, book.centers)
        assert found[name].version == book.version
