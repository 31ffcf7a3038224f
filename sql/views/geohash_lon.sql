-- purpose: longitude of the place that a patch_id or pixel_id names, in degrees (28 bits: right to 0.1 m)
-- grain: one number in, one out
-- inputs: none (a macro); the bit above the 55 bits of a pixel_id does not matter
create or replace macro geohash_lon(key) as
    (squeeze_bits(key::ubigint & 36028797018963967::ubigint) + 0.5) / 268435456 * 360 - 180
