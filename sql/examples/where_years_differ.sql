-- purpose: where did the ground change? Patches whose mean pixel vector turned the most between two years
-- grain: one row per patch place that both years have, largest change first
-- inputs: pair_pooled. Both years are of one pixel product on one lattice, so they join on patch_id; one_model() stops
--     the query where a year was pooled from another model (another model is another space)
-- parameters: $year_a (default: the first year), $year_b (default: the last), $n (default: 20)
with years as (
    select
        coalesce($year_a::integer, (select min(year) from pair_pooled)) as year_a,
        coalesce($year_b::integer, (select max(year) from pair_pooled)) as year_b
),
pairs as (
    select
        years.year_a, years.year_b, before.patch_id, before.shard, before.lon, before.lat,
        least(before.valid_fraction, after.valid_fraction) as valid_fraction,
        array_cosine_distance(before.mean, after.mean) as cosine_distance
    from years
    join pair_pooled as before on before.year = years.year_a
    join pair_pooled as after on after.year = years.year_b and after.patch_id = before.patch_id
    where years.year_a < years.year_b and one_model('out_patch__%_pooled')
)
select
    year_a, year_b, patch_id, shard, round(lon, 6) as lon, round(lat, 6) as lat,
    round(valid_fraction, 3) as valid_fraction,
    round(pairs.cosine_distance, 4) as cosine_distance
from pairs
where valid_fraction >= 0.5
order by pairs.cosine_distance desc, patch_id
limit (select coalesce($n::bigint, 20))
