-- purpose: no pixel vector is unlike all others of its year, in direction or in length
-- grain: one failing row per year and pixel with its reason; see sql/views/outlying_vectors.sql for the rule
-- inputs: pair_pixels (reads all vectors of the uniform sample, three times)
-- meaning: A vector that resembles nothing is more often a broken block, a cloud, or bands in another order than a rare
--     place. It pulls means and codebooks, and answers no search.
-- fix: Look at the place in the imagery. Download the raster again where it is broken; a rare place may stay.
with units as not materialized (
    select year, shard, pixel_id as unit_id, embedding
    from pair_pixels
    where in_sample
)
select year, shard, unit_id as pixel_id, reason, found, allowed
from outlying_vectors('units')
