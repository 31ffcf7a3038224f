-- purpose: how much better an arm looks under random folds, where neighbours of test units are trained on
-- grain: one row per year, task, label source, strict scheme, arm, probe and budget that random folds were run for too
-- inputs: task_scores. The gap is a diagnostic, never evidence
create or replace view leakage_gap as
with strict as (
    select * from task_scores where scheme <> 'random' and stratum is null
),
random as (
    select * from task_scores where scheme = 'random' and stratum is null
)
select
    strict.year, strict.task, strict.label_source, strict.scheme, strict.arm, strict.arm_family, strict.probe,
    strict.budget_kind, strict.budget, strict.purity_min, strict.threshold_rule, strict.metric,
    random.value as random_value,
    strict.value as strict_value,
    random.value - strict.value as gap,
    strict.is_default,
    strict.is_simulated or random.is_simulated as is_simulated
from strict
inner join random
    on strict.year = random.year
    and strict.task = random.task
    and strict.label_source = random.label_source
    and strict.arm = random.arm
    and strict.probe = random.probe
    and strict.budget_kind = random.budget_kind
    and strict.budget = random.budget
    and strict.purity_min is not distinct from random.purity_min
    and strict.threshold_rule is not distinct from random.threshold_rule
order by strict.year, strict.task, strict.label_source, strict.scheme, gap desc
