-- purpose: patch places that lie side by side on their lattice, and whether a border of a shard, of a 100 km square or
--     of a UTM zone runs between them
-- grain: one row per place and its eastern or northern neighbour on the same lattice; places off a lattice have none
-- inputs: core_grid__patches. `ground` names the shard and the square; `line` numbers the lattice rows, or the columns
--     of 320 m from which eastern neighbours are reached
create or replace view lattice_neighbours as
with places as (
    select
        patch_id, shard, lattice, "row" as lattice_row, col, lon, x_m,
        format('{} {}:{}:{}', shard, epsg, floor(x_m / 100000)::integer, floor(y_m / 100000)::integer) as ground
    from core_grid__patches
    where lattice in ('primary', 'secondary')
),
reaching as (
    select 'east' as direction, *, lattice_row as next_row, col + 1 as next_col, floor(x_m / 320)::bigint as line
    from places
    union all
    -- rows have their own numbers of cells, so the column above is found by longitude
    select
        'north' as direction, *, lattice_row + 1 as next_row,
        round((lon + 180) / 360 * lattice_columns(lattice_row + 1) - if(lattice = 'secondary', 1, 0.5))::bigint as next_col,
        lattice_row::bigint as line
    from places
)
select
    reaching.direction, reaching.line, reaching.lattice, reaching.shard, reaching.patch_id, reaching.ground,
    neighbours.shard as neighbour_shard, neighbours.patch_id as neighbour_id, neighbours.ground as neighbour_ground
from reaching
join places as neighbours
    on neighbours.lattice = reaching.lattice
    and neighbours.lattice_row = reaching.next_row
    and neighbours.col = reaching.next_col
