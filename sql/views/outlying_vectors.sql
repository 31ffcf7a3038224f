-- purpose: vectors that are unlike all others of their year: far from every other one, or of another length
-- grain: one row per year and unit with its reason, at most 1,024 a year that are far; empty vectors are left out
-- inputs: a relation with year, shard, unit_id, embedding (array of floats). Every vector is compared with 12 drawn
--     ones. The 1,024 least alike are then compared with 2,048 drawn ones and with each other, so a rare kind of ground
--     is no outlier. Far: the nearest of those is farther by cosine than 0.1 and than five times what is typical of the
--     drawn ones. Of another length: by over 10 robust standard deviations of the logarithm, and by a factor of 2. Years
--     of fewer than 50 vectors are not judged
create or replace macro outlying_vectors(vectors) as table
with units as not materialized ( -- read again each time: all vectors of a country do not fit in memory
    select year, shard, unit_id, embedding, array_inner_product(embedding, embedding) as energy
    from query_table(vectors)
    where array_inner_product(embedding, embedding) > 0 and isfinite(array_inner_product(embedding, embedding))
),
drawn as (
    select
        year,
        unnest(arg_min({'unit_id': unit_id, 'embedding': embedding, 'energy': energy}, hash(unit_id), 2048)) as one,
        unnest(range(2048)) as place
    from units
    group by year
),
sample as (
    select year, one.unit_id as unit_id, one.embedding as embedding, one.energy as energy, place
    from drawn
    where one is not null
),
nearness as (
    select
        units.year, units.unit_id,
        max(array_inner_product(units.embedding, sample.embedding) / sqrt(units.energy * sample.energy)) as cosine
    from units
    join sample on sample.year = units.year and sample.place < 12 and sample.unit_id <> units.unit_id
    group by units.year, units.unit_id
),
suspects as (
    select year, unnest(arg_min(unit_id, cosine, 1024)) as unit_id
    from nearness
    group by year
),
seen as (
    select units.year, units.shard, units.unit_id, units.embedding, units.energy
    from units
    semi join suspects using (year, unit_id)
),
company as (
    select year, unit_id, embedding, energy from sample
    union all
    select year, unit_id, embedding, energy from seen
),
typical as (
    select year, greatest(0.1, 5 * median(1 - cosine)) as allowed
    from (
        select
            sample.year, sample.unit_id,
            max(array_inner_product(sample.embedding, company.embedding) / sqrt(sample.energy * company.energy))
                as cosine
        from sample
        join company on company.year = sample.year and company.unit_id <> sample.unit_id
        where sample.place < 256
        group by sample.year, sample.unit_id
    )
    group by year
    having count(*) >= 50
),
nearest as (
    select
        seen.year, seen.shard, seen.unit_id,
        1 - max(array_inner_product(seen.embedding, company.embedding) / sqrt(seen.energy * company.energy)) as distance
    from seen
    join company on company.year = seen.year and company.unit_id <> seen.unit_id
    group by seen.year, seen.shard, seen.unit_id
),
lengths as (
    select year, median(ln(energy)) / 2 as middle, mad(ln(energy)) / 2 as spread
    from units
    group by year
    having count(*) >= 50
)
select nearest.year, nearest.shard, nearest.unit_id, 'far from all others' as reason,
    nearest.distance as found, typical.allowed
from nearest
join typical using (year)
where nearest.distance > typical.allowed
union all
select units.year, units.shard, units.unit_id, 'length' as reason,
    sqrt(units.energy) as found, exp(lengths.middle) as allowed
from units
join lengths using (year)
where abs(ln(units.energy) / 2 - lengths.middle) > greatest(10 * 1.4826 * lengths.spread, ln(2))
