-- purpose: source files are as published: none without rows, none that is stored another way up
-- grain: one failing row per core table and note of its provenance
-- inputs: stored_footers
-- meaning: A file was read all the same, but it is not as its producer publishes them: it may be an unfinished upload, or
--     come from somebody else.
-- fix: Read the note; download the file again, or leave it out of the source root. Rows that are stored may stay.
select distinct table_name, unnest(from_json(record -> '$.notes', '["VARCHAR"]')) as note
from stored_footers
where starts_with(table_name, 'core_')
and not starts_with(table_name, 'core_label_')
