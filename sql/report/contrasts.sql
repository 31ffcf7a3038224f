-- purpose: the numbers of the two answers and of the contrast plots
-- grain: one row per year, question, label source, scheme and arm
-- inputs: out_probe__contrasts
select
    year, question, task, label_source, scheme, probe, metric, arm, reference, arm_value, reference_value,
    delta, lo, hi, p_holm, margin, verdict, is_primary, n_blocks, block_wins, method, status, note, is_simulated
from out_probe__contrasts
where is_default and task in ('T1', 'T5')
order by year, question, label_source, scheme, is_primary desc, delta desc
