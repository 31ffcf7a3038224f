-- purpose: area of each class by H3 cell, from the class fractions of patches
-- grain: one row per label source, label year, H3 cell (resolution 7, about 5 km2) and class with area
-- inputs: core_label__patches, core_grid__patches. Each lattice covers the ground once, so with L lattices a patch
--     stands for 1/L of its footprint
-- parameters: $label_source (default: all), $year (label year; default: all)
with spine as (
    select shard, patch_id, side_m * side_m / (select count(distinct lattice) from core_grid__patches) as ground_m2
    from core_grid__patches
),
names as (
    select distinct label_source, label, class_name
    from core_label__patches
    where label >= 0
),
shares as (
    select
        labels.label_source, labels.year, labels.h3_r7, spine.ground_m2,
        unnest(labels.fractions) as fraction,
        generate_subscripts(labels.fractions, 1) - 1 as label
    from core_label__patches as labels
    join spine using (shard, patch_id)
    where labels.label_source = coalesce($label_source::varchar, labels.label_source)
    and labels.year = coalesce($year::integer, labels.year)
)
select
    shares.label_source,
    shares.year as label_year,
    format('{:x}', shares.h3_r7) as h3_cell,
    shares.label,
    names.class_name,
    round(sum(shares.fraction * shares.ground_m2) / 1e6, 4) as area_km2,
    round(sum(shares.fraction * shares.ground_m2) / sum(sum(shares.fraction * shares.ground_m2)) over cell, 4) as share,
    count(*) as n_patches
from shares
left join names on names.label_source = shares.label_source and names.label = shares.label
where shares.fraction > 0
group by shares.label_source, shares.year, shares.h3_r7, shares.label, names.class_name
window cell as (partition by shares.label_source, shares.year, shares.h3_r7)
order by shares.label_source, label_year, h3_cell, area_km2 desc
