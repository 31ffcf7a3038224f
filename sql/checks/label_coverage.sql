-- purpose: a label source covers at least half of the pixels, and of the patches, of every shard
-- grain: one failing row per label source, unit (pixel, patch) and shard below the share
-- inputs: core_label__pixels, core_label__patches, pair_pixels, core_grid__patches
-- meaning: Scores of these shards rest on few labels, or the labels are of another place.
-- fix: Check the extent of the label source and labels.<name>.years; evaluate another area if the source ends there.
with units as (
    select distinct 'pixel' as unit, shard, pixel_id as unit_id from pair_pixels
    union all
    select distinct 'patch' as unit, shard, patch_id as unit_id from core_grid__patches
),
labelled as (
    select distinct 'pixel' as unit, label_source, shard, pixel_id as unit_id
    from core_label__pixels
    where label >= 0
    union all
    select distinct 'patch' as unit, label_source, shard, patch_id as unit_id
    from core_label__patches
    where valid_share > 0 -- patches of several classes need not have a majority
),
sources as ( -- a source whose labels are all elsewhere has rows too
    select distinct 'pixel' as unit, label_source from core_label__pixels
    union all
    select distinct 'patch' as unit, label_source from core_label__patches
)
select
    sources.label_source,
    units.unit,
    units.shard,
    count(*) as n_units,
    count(labelled.unit_id) as n_labelled,
    count(labelled.unit_id) / count(*) as share
from units
join sources on sources.unit = units.unit
left join labelled
    on labelled.unit = units.unit
    and labelled.label_source = sources.label_source
    and labelled.shard = units.shard
    and labelled.unit_id = units.unit_id
group by sources.label_source, units.unit, units.shard
having count(labelled.unit_id) < 0.5 * count(*)
