-- purpose: every year that the settings ask for and the producer publishes is one that the registry knows the model of
-- grain: one failing row per index and year whose files were left out
-- inputs: provenance (notes of the release indexes)
-- meaning: Files of a year are there, but the registry entry does not name it. They are not read: another year may be of
--     another model or grid, whose vectors share no space with these.
-- fix: If the producer says that model and grid are the same, add the year to `years` of [products.<name>]; else register
--     that year as a product of its own, with its own [sources.<name>].
select table_name, product, release, unnest(notes) as note
from provenance
where starts_with(table_name, 'raw_')
