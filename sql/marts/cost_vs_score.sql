-- purpose: what a score costs: bytes to store per square kilometre, dimensions, parameters, seconds to evaluate
-- grain: one row per year, task, label source, scheme, arm, probe, purity and threshold rule, with all labels
-- inputs: task_scores, out_probe__metrics
create or replace view cost_vs_score as
with parameters as (
    select year, task, label_source, scheme, arm, probe, budget_kind, budget, purity_min,
        max(probe_params) as probe_params
    from out_probe__metrics
    group by all
)
select
    scores.year, scores.task, scores.label_source, scores.scheme, scores.arm, scores.arm_family, scores.probe,
    scores.purity_min, scores.metric, scores.threshold_rule, scores.value, scores.bytes_per_km2, scores.dims, parameters.probe_params,
    scores.seconds, scores.is_default, scores.is_simulated
from task_scores as scores
inner join parameters
    on scores.year = parameters.year
    and scores.task = parameters.task
    and scores.label_source = parameters.label_source
    and scores.scheme = parameters.scheme
    and scores.arm = parameters.arm
    and scores.probe = parameters.probe
    and scores.budget_kind = parameters.budget_kind
    and scores.budget = parameters.budget
    and scores.purity_min is not distinct from parameters.purity_min
where scores.budget_kind = 'percent' and scores.budget = 100 and scores.stratum is null
order by scores.year, scores.task, scores.label_source, scores.scheme, scores.value desc nulls last
