-- purpose: labels need no remark: no mended rings, no values without a class, none that a product was trained on
-- grain: one failing row per label table and note of its provenance
-- inputs: stored_footers
select distinct table_name, unnest(from_json(record -> '$.notes', '["VARCHAR"]')) as note
from stored_footers
where starts_with(table_name, 'core_label_')
