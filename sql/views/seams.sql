-- purpose: borders across which neighbouring vectors differ more than along lines inside the grounds on either side
-- grain: one row per year, direction and border that stands out
-- inputs: lattice_neighbours; a relation with year, patch_id, embedding, which is read three times, once without its
--     vectors: give it as a CTE that is `not materialized`; a relation with year, patch_id, source (the file that holds
--     the place, or no rows). A border is judged by the mean cosine distance of at least 10 pairs across it, against the
--     means of at least 8 parallel lines inside: it stands out above their median by 6 robust standard deviations and by
--     a quarter. About 32 lines a shard and direction are read
create or replace macro seams(vectors, sources) as table
with stored_years as (
    select distinct year
    from query_table(vectors)
),
sourced as (
    select year, patch_id, source
    from query_table(sources)
),
strides as ( -- places stand on two lattices, so a square of n has sqrt(n / 2) lines
    select shard, greatest(1, floor(sqrt(count(*) / 2) / 32))::bigint as stride
    from core_grid__patches
    group by shard
),
pairs as (
    select
        years.year, pairs.direction, pairs.line, strides.stride, pairs.patch_id, pairs.neighbour_id,
        concat_ws(' ', pairs.ground, here.source) as ground,
        concat_ws(' ', pairs.neighbour_ground, there.source) as neighbour_ground
    from lattice_neighbours as pairs
    join strides using (shard)
    cross join stored_years as years
    left join sourced as here on here.year = years.year and here.patch_id = pairs.patch_id
    left join sourced as there on there.year = years.year and there.patch_id = pairs.neighbour_id
),
chosen as (
    select *, if(ground = neighbour_ground, line, null) as inner_line
    from pairs
    where ground <> neighbour_ground or line % stride = 0
),
halves as materialized ( -- else the optimiser may join all vectors of a year with each other first
    select chosen.*, here.embedding
    from chosen
    join query_table(vectors) as here on here.year = chosen.year and here.patch_id = chosen.patch_id
),
distances as (
    select
        halves.year, halves.direction, halves.ground, halves.neighbour_ground, halves.inner_line,
        1 - array_cosine_similarity(halves.embedding, there.embedding) as distance
    from halves
    join query_table(vectors) as there on there.year = halves.year and there.patch_id = halves.neighbour_id
),
lines as (
    select
        year, direction, ground, neighbour_ground, inner_line,
        count(distance) as n_pairs, avg(distance) as mean_distance
    from distances
    group by year, direction, ground, neighbour_ground, inner_line
    having count(distance) >= 10
),
inside as (
    select
        year, direction, ground, count(*) as n_lines,
        greatest(
            median(mean_distance) + 6 * 1.4826 * mad(mean_distance), 1.25 * median(mean_distance)
        ) as allowed_distance
    from lines
    where inner_line is not null
    group by year, direction, ground
    having count(*) >= 8
)
select
    borders.year, borders.direction, borders.ground, borders.neighbour_ground, borders.n_pairs,
    borders.mean_distance, max(inside.allowed_distance) as allowed_distance, sum(inside.n_lines) as n_lines
from lines as borders
join inside
    on inside.year = borders.year and inside.direction = borders.direction
    and inside.ground in (borders.ground, borders.neighbour_ground)
where borders.inner_line is null
group by borders.year, borders.direction, borders.ground, borders.neighbour_ground, borders.n_pairs, borders.mean_distance
having borders.mean_distance > max(inside.allowed_distance)
