-- purpose: where the data lie
-- grain: one row per shard and occupied cell of 1/48 of the longer side of the area
-- inputs: pair_patches, pair_pixels (its places, where there are no patches)
with places as (
    select distinct shard, lon, lat from pair_patches
    union all
    select distinct shard, lon, lat from pair_pixels where not exists (select 1 from pair_patches)
),
extent as (
    select greatest(max(lon) - min(lon), max(lat) - min(lat), 1e-6) / 48 as step_deg
    from places
)
select
    places.shard,
    floor(places.lon / extent.step_deg)::bigint as col,
    floor(places.lat / extent.step_deg)::bigint as row,
    avg(places.lon) as lon,
    avg(places.lat) as lat,
    count(*) as n_places
from places
cross join extent
group by places.shard, col, row
order by places.shard, row, col
