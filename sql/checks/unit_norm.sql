-- purpose: quantised pixel vectors are published with unit length; a wrong divisor or band order shows here
-- grain: one failing row per pixel and year whose dequantised length is outside 0.95 .. 1.05
-- inputs: pair_pixels_quantised (empty where the compared pixel product is not quantised)
with lengths as (
    select year, shard, pixel_id, sqrt(list_sum(list_transform(dequantize(embedding_q), lambda x: x * x))) as length
    from pair_pixels_quantised
)
select year, shard, pixel_id, length
from lengths
where length is null or length not between 0.95 and 1.05
