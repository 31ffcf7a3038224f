-- purpose: pixels stand where their raster has them: y grows to the north, no half pixel off, inside the raster's bounds
-- grain: one failing row per year and pixel of the area whose x_m, y_m are over a metre from lon, lat, or that no file
--     of its year holds
-- inputs: pair_pixels (places only), pair_pixel_files, core_grid__shards; CRS other than UTM are not judged
-- meaning: A raster was read upside down, mirrored or shifted by half a pixel, or the index has the bounds of another
--     file. Every vector is at the wrong place.
-- fix: Check the affine and bounds of the files named in `provenance`; correct the index or report the file; then run
--     again.
with here as (
    select pixels.year, pixels.shard, pixels.pixel_id, pixels.epsg, pixels.lon, pixels.lat, pixels.x_m, pixels.y_m
    from pair_pixels as pixels
    semi join core_grid__shards as shards on shards.shard = pixels.shard
),
apart as (
    select
        year, shard, pixel_id, 'x_m, y_m against lon, lat' as problem, lon, lat, x_m, y_m,
        x_m - utm_x_m(lon, lat, epsg) as off_east_m,
        y_m - utm_y_m(lon, lat, epsg) as off_north_m
    from here
    where epsg // 100 in (326, 327)
),
listed as ( -- an index lists the years of the settings; older partitions are not judged by it
    select here.*
    from here
    semi join (select year from pair_pixel_files where west_deg is not null) as years on years.year = here.year
),
strangers as (
    select listed.*
    from listed
    anti join (select * from pair_pixel_files where utm_west_m is not null) as files
        on files.year = listed.year and files.epsg = listed.epsg
        and listed.x_m >= files.utm_west_m and listed.x_m <= files.utm_east_m
        and listed.y_m >= files.utm_south_m and listed.y_m <= files.utm_north_m
)
select year, shard, pixel_id, problem, lon, lat, x_m, y_m, off_east_m, off_north_m
from apart
where not (abs(off_east_m) <= 1 and abs(off_north_m) <= 1)
union all
select year, shard, pixel_id, 'outside the files of its year' as problem, lon, lat, x_m, y_m, null, null
from strangers
-- files of several zones have bounds in degrees only
anti join (select * from pair_pixel_files where utm_west_m is null and west_deg is not null) as files
    on files.year = strangers.year
    and strangers.lon >= files.west_deg and strangers.lon <= files.east_deg
    and strangers.lat >= files.south_deg and strangers.lat <= files.north_deg
