-- purpose: does upsampling match pixels, and within which interval? Every arm against native pixel vectors
-- grain: one row per year, label source, scheme and arm; the arm that was fixed in advance first
-- inputs: out_probe__contrasts
-- parameters: none
select
    year, label_source, scheme, arm, reference, metric,
    round(arm_value, 4) as arm_value,
    round(reference_value, 4) as reference_value,
    round(delta, 4) as delta,
    round(lo, 4) as lo,
    round(hi, 4) as hi,
    margin, verdict, n_blocks, block_wins, method, is_primary, status, note, is_simulated
from out_probe__contrasts
where question = 'Q2'
order by year, label_source, scheme, is_primary desc, delta desc
