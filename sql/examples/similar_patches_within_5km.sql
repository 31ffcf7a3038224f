-- purpose: patches that look like this one, nearby: cosine similarity of native patch vectors
-- grain: one row per patch of the same year within the radius, most alike first
-- inputs: pair_patches
-- parameters: $patch_id (default: the first patch of the year), $year (default: the latest),
--     $radius_m (default: 5000), $n (default: 10)
with settings as (
    select
        coalesce($year::integer, (select max(year) from pair_patches)) as year,
        coalesce($radius_m::double, 5000.0) as radius_m
),
target as (
    select patches.year, patches.patch_id, patches.lon, patches.lat, patches.embedding
    from pair_patches as patches
    join settings using (year)
    where patches.patch_id = coalesce(
        $patch_id::ubigint,
        (select min(patch_id) from pair_patches join settings using (year))
    )
),
nearby as (
    select
        others.patch_id, others.shard, others.lon, others.lat,
        haversine_m(target.lon, target.lat, others.lon, others.lat) as distance_m,
        array_cosine_similarity(target.embedding, others.embedding) as cosine
    from pair_patches as others
    join target on target.year = others.year and target.patch_id != others.patch_id
    join settings on settings.year = others.year
    -- a box first: comparing two numbers is cheaper than a distance
    where others.lat between target.lat - settings.radius_m / 110000 and target.lat + settings.radius_m / 110000
    and haversine_m(target.lon, target.lat, others.lon, others.lat) <= settings.radius_m
)
select
    patch_id, shard, round(lon, 6) as lon, round(lat, 6) as lat,
    round(distance_m, 1) as distance_m,
    round(cosine, 4) as cosine
from nearby
order by nearby.cosine desc, patch_id
limit (select coalesce($n::bigint, 10))
