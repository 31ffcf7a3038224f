-- purpose: a declared table that is not stored yet, empty, with the right column types, so that SQL on it works
-- grain: no rows
-- inputs: none
create or replace view @view as
select @columns
where false
