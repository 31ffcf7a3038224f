create or replace view @view as
@statement
