-- purpose: another name for a table, so that queries need not know the compared products
-- grain: as the table's
-- inputs: @source
create or replace view @view as
select * from @source
