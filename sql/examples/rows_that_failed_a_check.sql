-- purpose: which rows break a rule of the warehouse? No rows: all checks pass
-- grain: one row per check and failing row, as text
-- inputs: failed_rows (the union of all views check_*)
-- parameters: $check_name (default: all), $n (default: 100)
select check_name, failing_row
from failed_rows
where check_name = coalesce($check_name::varchar, check_name)
order by check_name, failing_row
limit (select coalesce($n::bigint, 100))
