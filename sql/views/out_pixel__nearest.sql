-- purpose: nearest-neighbour upsampling: each kept pixel with the vector of its nearest patch, by rows (docs/adr/0012)
-- grain: one row per upsampled pixel and year
-- inputs: pair_upsampled, pair_patches (the patch may stand in another shard)
create or replace view out_pixel__nearest as
with places as (
    select distinct year, shard, pixel_id, lon, lat, nearest_patch_id
    from pair_upsampled
)
select
    places.year,
    places.shard,
    places.pixel_id,
    pair_patches.product,
    'nearest' as method,
    places.lon,
    places.lat,
    places.nearest_patch_id,
    pair_patches.embedding,
    pair_patches.is_simulated
from places
join pair_patches
    on pair_patches.year = places.year and pair_patches.patch_id = places.nearest_patch_id
