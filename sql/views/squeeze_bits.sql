-- purpose: take every second bit of a 64-bit number, lowest first: one axis of a geohash key
-- grain: one number in, one number below 2^32 out
-- inputs: none (a macro); squeeze_step moves half of the remaining bits
create or replace macro squeeze_bits(v) as squeeze_step(squeeze_step(squeeze_step(squeeze_step(squeeze_step(
    v::ubigint & 6148914691236517205::ubigint,  -- 0x5555...: every second bit
    1, 3689348814741910323::ubigint),
    2, 1085102592571150095::ubigint),
    4, 71777214294589695::ubigint),
    8, 281470681808895::ubigint),
    16, 4294967295::ubigint)
