-- purpose: what derives from simulated data says so: no derived table is marked real above a simulated input
-- grain: one failing row per derived table, year and shard (shard NULL for evidence)
-- inputs: pair_pixels, pair_patches, pair_pooled, pair_upsampled, core_label__pixels, core_label__patches,
--     out_probe__metrics, out_probe__confusions, out_probe__predictions, out_probe__contrasts, out_probe__oracles,
--     out_probe__oracle_confusions, out_probe__adapters, out_probe__adapter_confusions, out_probe__adapter_gains
-- meaning: A number from a simulated world would pass for a real one.
-- fix: Derive and evaluate the named tables again; do not publish anything from them until then.
with core as (
    select 'pixels' as side, year, shard, bool_or(is_simulated) as flag from pair_pixels group by year, shard
    union all
    select 'patches' as side, year, shard, bool_or(is_simulated) as flag from pair_patches group by year, shard
),
derived as (
    select 'pooled' as table_name, 'pixels' as side, year, shard, bool_and(is_simulated) as flag
    from pair_pooled
    group by year, shard
    union all
    select 'upsampled' as table_name, 'patches' as side, year, shard, bool_and(is_simulated) as flag
    from pair_upsampled
    group by year, shard
),
evidence as (
    select 'out_probe__metrics' as table_name, year, bool_and(is_simulated) as flag from out_probe__metrics group by year
    union all
    select 'out_probe__confusions' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__confusions
    group by year
    union all
    select 'out_probe__predictions' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__predictions
    group by year
    union all
    select 'out_probe__contrasts' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__contrasts
    group by year
    union all
    select 'out_probe__oracles' as table_name, year, bool_and(is_simulated) as flag from out_probe__oracles group by year
    union all
    select 'out_probe__oracle_confusions' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__oracle_confusions
    group by year
    union all
    select 'out_probe__adapters' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__adapters
    group by year
    union all
    select 'out_probe__adapter_confusions' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__adapter_confusions
    group by year
    union all
    select 'out_probe__adapter_gains' as table_name, year, bool_and(is_simulated) as flag
    from out_probe__adapter_gains
    group by year
),
inputs_of_evidence as (
    select year, flag from core
    union all
    select null as year, is_simulated as flag from core_label__pixels group by is_simulated
    union all
    select null as year, is_simulated as flag from core_label__patches group by is_simulated
)
select derived.table_name, derived.year, derived.shard
from derived
join core using (side, year, shard)
where core.flag and not derived.flag
union all
select evidence.table_name, evidence.year, null as shard
from evidence
where not evidence.flag and exists (
    select 1
    from inputs_of_evidence
    where inputs_of_evidence.flag
    and (inputs_of_evidence.year = evidence.year or inputs_of_evidence.year is null)
)
