-- purpose: the nodata code -128 stands in all bands or in none, and a pixel without data is never kept: so a stored
--     vector never holds it
-- grain: one failing row per pixel and year with -128 anywhere
-- inputs: pair_pixels_quantised
-- meaning: The code of nodata got in among the data: dequantised, it would be -1 and pull every mean.
-- fix: Download the raster again; if it stays, tell its producer. Then ingest this year and shard again.
with counts as (
    select year, shard, pixel_id, len(list_filter(embedding_q, lambda v: v = -128)) as n_nodata_bands
    from pair_pixels_quantised
)
select year, shard, pixel_id, n_nodata_bands
from counts
where n_nodata_bands > 0
