-- purpose: a patch_id names the place that its row has: lon, lat, the footprint, and in the spine x_m and y_m
-- grain: one failing row per table, year, shard and patch whose id is over a metre from lon, lat, whose footprint does not
--     hold them, or whose x_m, y_m are elsewhere
-- inputs: core_grid__patches, pair_patches (places only)
-- meaning: Ids, centroids and footprints come from different rows, or a footprint was cut in another zone. Vectors
--     would be pooled, labelled and joined on other ground.
-- fix: Remove these partitions and run again. If it stays, compare id and geometry of the source file; a file of another
--     grid is a product of its own.
with places as (
    select
        'core_grid__patches' as table_name, null::integer as year, shard, patch_id, lon, lat, bbox,
        if(epsg // 100 in (326, 327), greatest(
            abs(x_m - utm_x_m(lon, lat, epsg)), abs(y_m - utm_y_m(lon, lat, epsg))
        ), 0) as off_grid_m
    from core_grid__patches
    union all
    select 'pair_patches' as table_name, year, shard, patch_id, lon, lat, bbox, 0 as off_grid_m
    from pair_patches
),
measured as (
    select
        table_name, year, shard, patch_id, lon, lat,
        haversine_m(lon, lat, geohash_lon(patch_id), geohash_lat(patch_id)) as off_id_m,
        off_grid_m,
        lon >= bbox.xmin and lon <= bbox.xmax and lat >= bbox.ymin and lat <= bbox.ymax as is_in_footprint
    from places
)
select table_name, year, shard, patch_id, lon, lat, off_id_m, off_grid_m, is_in_footprint
from measured
where not (off_id_m <= 1 and off_grid_m <= 1 and is_in_footprint)
