-- purpose: no patch vector is unlike all others of its year, in direction or in length
-- grain: one failing row per year and patch with its reason; see sql/views/outlying_vectors.sql for the rule
-- inputs: pair_patches (reads all vectors, three times)
-- meaning: A vector that resembles nothing is more often a broken mosaic, a cloud, or a row of another model than a rare
--     place. It pulls means and bases, and answers no search.
-- fix: Look at the place in the imagery. Remove or replace the source file where it is broken; a rare place may stay.
with units as not materialized (
    select year, shard, patch_id as unit_id, embedding
    from pair_patches
)
select year, shard, unit_id as patch_id, reason, found, allowed
from outlying_vectors('units')
