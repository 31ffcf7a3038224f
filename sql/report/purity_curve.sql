-- purpose: how patch scores depend on the purity that patches must have, and how many are left
-- grain: one row per year, task, label source, scheme, arm, probe and least purity
-- inputs: purity_curve
select
    year, task, label_source, scheme, arm, arm_family, probe, purity_min, metric, value, n_units, share_retained,
    is_simulated
from purity_curve
order by year, task, label_source, scheme, arm, probe, purity_min
