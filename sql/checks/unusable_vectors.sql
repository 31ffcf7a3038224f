-- purpose: every stored vector says something: it is there, finite, not zero, and its elements are not all the same
-- grain: one failing row per grain, year, shard and patch or pixel with its reason
-- inputs: pair_patches, pair_pixels_quantised, pair_pixels_unquantised (reads all vectors)
-- meaning: A file has rows without a vector that no nodata code marks: an interrupted upload or export, or a sea tile
--     filled with zeros. Their similarity to anything is undefined or 1.
-- fix: Download the source file again, or leave it out of the source root; then run again.
with patches as (
    select
        'patch' as grain, year, shard, patch_id as unit_id,
        list_min(embedding) as smallest, list_max(embedding) as largest, list_sum(embedding) as total
    from pair_patches
),
float_pixels as (
    select
        'pixel' as grain, year, shard, pixel_id as unit_id,
        list_min(embedding) as smallest, list_max(embedding) as largest, list_sum(embedding) as total
    from pair_pixels_unquantised
),
coded_pixels as (
    select
        'pixel' as grain, year, shard, pixel_id as unit_id,
        list_min(embedding_q) as smallest, list_max(embedding_q) as largest, 0 as total
    from pair_pixels_quantised
),
units as (
    select * from patches
    union all
    select * from float_pixels
    union all
    select * from coded_pixels
)
select
    grain, year, shard, unit_id, smallest, largest,
    case
        when smallest is null then 'no vector'
        when not isfinite(total) then 'not finite'
        when largest = 0 and smallest = 0 then 'zero'
        else 'constant'
    end as reason
from units
where smallest is null or not isfinite(total) or smallest = largest
