-- purpose: turn signed-square int8 codes into floats, x = sign(v) * (v / 127.5)^2; the code -128 (nodata) gives NULL
-- grain: one list in, one list out, same order
-- inputs: none (a macro)
create or replace macro dequantize(embedding_q) as list_transform(
    embedding_q,
    lambda v: case when v = -128 then null else v * abs(v::float) / 16256.25 end  -- 127.5^2; twice as fast as powers
)
