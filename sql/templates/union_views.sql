-- purpose: the tables of all sources as one
-- grain: as the tables'
-- inputs: one select per table
create or replace view @view as
@selects
