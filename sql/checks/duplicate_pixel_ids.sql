-- purpose: overlapping rasters or tables hold a pixel several times; the warehouse holds it once
-- grain: one failing row per year and pixel that is stored more than once
-- inputs: pair_pixels
-- meaning: Copies of one pixel weigh twice in every mean and score, and stand on both sides of a fold.
-- fix: Look for a layer that is listed twice in the index; keep the newer row; run again.
select year, pixel_id, count(*) as n_rows, min(shard) as first_shard, max(shard) as last_shard
from pair_pixels
group by year, pixel_id
having count(*) > 1
