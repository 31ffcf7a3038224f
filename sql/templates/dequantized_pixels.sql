-- purpose: a quantised pixel table with `embedding` (float) instead of `embedding_q` (codes)
-- grain: one row per kept pixel and year
-- inputs: @source
create or replace view @view as
select * exclude (embedding_q), dequantize(embedding_q)::@vector as embedding
from @source
