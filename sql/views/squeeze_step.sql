-- purpose: close gaps of `shift` bits in a number (one step of squeeze_bits)
-- grain: one number in, one out
-- inputs: none (a macro)
create or replace macro squeeze_step(v, shift, mask) as (v | (v >> shift)) & mask
