-- purpose: where the rows come from: the records in the footers of the stored files
-- grain: one row per table and distinct record
-- inputs: stored_footers
select table_name, record, count(*) as n_files
from stored_footers
where record is not null
group by table_name, record
order by table_name, record
