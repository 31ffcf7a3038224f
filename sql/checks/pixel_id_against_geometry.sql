-- purpose: a pixel_id names the place that its row has: the geohash of lon, lat and, above it, the parity of the zone
-- grain: one failing row per year and pixel whose id is over a metre from lon, lat, or of a zone of other parity
-- inputs: pair_pixels (places only)
-- meaning: Ids and places come from different rows. Labels, folds and years would join vectors of other ground.
-- fix: Remove the partitions of these years and shards and run again. If it stays, the source's table is damaged.
select
    year, shard, pixel_id, epsg, lon, lat, geohash_lon(pixel_id) as id_lon, geohash_lat(pixel_id) as id_lat,
    haversine_m(lon, lat, geohash_lon(pixel_id), geohash_lat(pixel_id)) as off_m
from pair_pixels
where not haversine_m(lon, lat, geohash_lon(pixel_id), geohash_lat(pixel_id)) <= 1
or (pixel_id >> 55) <> epsg % 2
