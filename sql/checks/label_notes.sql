-- purpose: labels need no remark: no mended rings, no values without a class, none that a product was trained on
-- grain: one failing row per label table and note of its provenance
-- inputs: stored_footers
-- meaning: The label source was mended or thinned on reading, or a product was trained on it: scores on it may
--     flatter.
-- fix: Read the note. Mend the source, map the missing values, or score on an independent source.
select distinct table_name, unnest(from_json(record -> '$.notes', '["VARCHAR"]')) as note
from stored_footers
where starts_with(table_name, 'core_label_')
