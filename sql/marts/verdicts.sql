-- purpose: the answers: primary contrasts that were fixed before any result
-- grain: one row per year, question, label source and fold scheme
-- inputs: out_probe__contrasts
create or replace view verdicts as
select
    year, question, label_source, scheme, task, probe, metric, arm, reference,
    arm_value, reference_value, delta, lo, hi, margin, verdict, n_blocks, block_wins, method, status, note,
    is_simulated
from out_probe__contrasts
where is_primary
order by year, question, label_source, scheme
