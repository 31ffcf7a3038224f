-- purpose: every stored file says where its rows come from: product, release, licence, attribution, schema and code
--     version, and with vectors of a product the source files with their ETags
-- grain: one failing row per file and missing field
-- inputs: provenance
-- meaning: Nobody can tell from which release these rows come, or whose name must be given with them. Licences such as
--     CC-BY demand that the attribution travels.
-- fix: Write the partition again with this version of Isthmus; a file that something else put there does not belong in
--     the warehouse.
with gaps as (
    select
        table_name, year, shard, file_name,
        unnest([
            if(coalesce(product, '') = '', 'product', null),
            if(coalesce(release, '') = '', 'release', null),
            -- a label source states its licence in its attribution
            if(coalesce(licence, '') = '' and not starts_with(table_name, 'core_label_'), 'licence', null),
            if(coalesce(code_version, '') = '', 'code_version', null),
            if(schema_version is null, 'schema_version', null),
            if(is_simulated is null, 'is_simulated', null),
            -- the grid is ours
            if(coalesce(len(attribution), 0) = 0 and coalesce(product, '') <> 'grid', 'attribution', null),
            if(regexp_matches(table_name, '^core_.*__(pixels|patches)$') and table_name <> 'core_grid__patches'
               and not starts_with(table_name, 'core_label_') and coalesce(len(sources), 0) = 0, 'sources', null),
            if(len(list_filter(sources, lambda one: coalesce(one.etag, '') = '')) > 0, 'etag of a source', null)
        ]) as missing
    from provenance
)
select table_name, year, shard, missing, file_name
from gaps
where missing is not null
