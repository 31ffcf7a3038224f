-- purpose: vectors that are unlike all others of their year: far from every other one, or of another length
-- grain: one row per year and unit with its reason, at most 1,024 a year that are far; empty vectors are left out
-- inputs: a relation with year, shard, unit_id, embedding (array of floats), which is read four times, once without its
--     vectors: give it as a CTE that is `not materialized`. Every vector is compared with 12 drawn ones. The 1,024 least
--     alike are then compared with 2,048 drawn ones and with each other, so a rare kind of ground is no outlier. Far: the
--     nearest of those is farther by cosine than 0.1 and than five times what is typical of the drawn ones. Of another
--     length: by over 10 robust standard deviations of the logarithm, and by a factor of 2. Years of fewer than 50
--     vectors are not judged. Fewer are drawn where half of a year's vectors are empty
create or replace macro outlying_vectors(vectors) as table
with drawn as ( -- by id alone, and twice as many as wanted: some may be empty
    select year, unnest(arg_min(unit_id, hash(unit_id), 4096)) as unit_id
    from query_table(vectors)
    group by year
),
sample as materialized (
    select year, unit_id, embedding, energy, row_number() over (partition by year order by hash(unit_id)) - 1 as place
    from (
        select year, unit_id, embedding, array_inner_product(embedding, embedding) as energy
        from query_table(vectors)
        semi join drawn using (year, unit_id)
    )
    where energy > 0 and isfinite(energy)
    qualify place < 2048
),
landmarks as (
    select list({'year': year, 'unit_id': unit_id, 'embedding': embedding, 'energy': energy}) as ones
    from sample
    where place < 12
),
measured as materialized ( -- without the vectors: those of a country do not fit in memory
    select
        year, shard, unit_id, energy,
        list_max(list_transform(
            landmarks.ones,
            lambda one: case
                when one.year = units.year and one.unit_id <> units.unit_id
                then array_inner_product(units.embedding, one.embedding) / sqrt(units.energy * one.energy)
            end
        )) as cosine
    from (
        select year, shard, unit_id, embedding, array_inner_product(embedding, embedding) as energy
        from query_table(vectors)
    ) as units
    cross join landmarks
    where units.energy > 0 and isfinite(units.energy)
),
suspects as (
    select year, unnest(arg_min({'unit_id': unit_id, 'cosine': cosine}, cosine, 1024), recursive := true)
    from measured
    group by year
),
seen as materialized (
    select year, shard, unit_id, embedding, energy
    from (
        select year, shard, unit_id, embedding, array_inner_product(embedding, embedding) as energy
        from query_table(vectors)
        semi join suspects using (year, unit_id)
    )
    where energy > 0 and isfinite(energy)
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
        -- with `company.year = sample.year` DuckDB hashes, and copies a vector for each pair
        join company on company.year - sample.year = 0 and company.unit_id <> sample.unit_id
        where sample.place < 256
        group by sample.year, sample.unit_id
    )
    group by year
    having count(*) >= 50
),
far as ( -- who is near a landmark is not far
    select *
    from seen
    semi join (select * from suspects where 1 - cosine > 0.1) using (year, unit_id)
),
nearest as (
    select
        far.year, far.shard, far.unit_id,
        1 - max(array_inner_product(far.embedding, company.embedding) / sqrt(far.energy * company.energy)) as distance
    from far
    join company on company.year - far.year = 0 and company.unit_id <> far.unit_id
    group by far.year, far.shard, far.unit_id
),
lengths as (
    select year, median(ln(energy)) / 2 as middle, mad(ln(energy)) / 2 as spread
    from measured
    group by year
    having count(*) >= 50
)
select nearest.year, nearest.shard, nearest.unit_id, 'far from all others' as reason,
    nearest.distance as found, typical.allowed
from nearest
join typical using (year)
where nearest.distance > typical.allowed
union all
select measured.year, measured.shard, measured.unit_id, 'length' as reason,
    sqrt(measured.energy) as found, exp(lengths.middle) as allowed
from measured
join lengths using (year)
where abs(ln(measured.energy) / 2 - lengths.middle) > greatest(10 * 1.4826 * lengths.spread, ln(2))
