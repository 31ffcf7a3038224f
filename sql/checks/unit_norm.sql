-- purpose: quantised pixel vectors are published with unit length; a wrong divisor or band order shows here
-- grain: one failing row per pixel and year whose dequantised length is outside 0.95 .. 1.05, or that holds nodata
-- inputs: pair_pixels_quantised (empty where the compared pixel product is not quantised)
-- meaning: Vectors were dequantised, scaled or cut wrongly, or bands are missing or out of order: every cosine is
--     off.
-- fix: Check that the files are those of the product in [sources]; a file of another scaling needs a registry entry.
with magnitudes as (
    -- the magnitude of a dequantised value is (v / 127.5)^2; its sign does not matter to the length
    select
        year, shard, pixel_id,
        list_contains(embedding_q, -128) as has_nodata,
        list_transform(embedding_q, lambda v: (v / 127.5) * (v / 127.5)) as magnitude
    from pair_pixels_quantised
),
lengths as (
    select year, shard, pixel_id, has_nodata, sqrt(list_inner_product(magnitude, magnitude)) as length
    from magnitudes
)
select year, shard, pixel_id, length
from lengths
where has_nodata or length not between 0.95 and 1.05
