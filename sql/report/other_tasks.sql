-- purpose: the tasks beside the two claims, each against its native arm
-- grain: one row per year, task, label source, scheme, arm, probe, metric and threshold rule, with all labels
-- inputs: task_scores (of retrieval: precision at 10), out_probe__contrasts (NULL for natives and where nothing was
--     compared). Contrasts of one class a unit have no threshold rule
select
    scores.year, scores.task, scores.label_source, scores.scheme, scores.arm, scores.arm_family, scores.probe,
    scores.threshold_rule, scores.metric, scores.value, scores.n_units, scores.n_blocks, scores.status,
    contrasts.delta, contrasts.lo, contrasts.hi, contrasts.p_holm, contrasts.verdict,
    scores.is_simulated
from task_scores as scores
left join out_probe__contrasts as contrasts
    on scores.year = contrasts.year
    and scores.task = contrasts.task
    and scores.label_source = contrasts.label_source
    and scores.scheme = contrasts.scheme
    and scores.arm = contrasts.arm
    and scores.probe = contrasts.probe
    and scores.metric = contrasts.metric
    and scores.budget_kind = contrasts.budget_kind
    and scores.budget = contrasts.budget
    and scores.purity_min is not distinct from contrasts.purity_min
    and coalesce(contrasts.threshold_rule, scores.threshold_rule) is not distinct from scores.threshold_rule
    and coalesce(contrasts.k, 10) = 10
where scores.task not in ('T1', 'T5', 'T6') and scores.stratum is null
    and scores.budget_kind = 'percent' and scores.budget = 100
order by scores.year, scores.task, scores.label_source, scores.scheme, scores.probe, scores.threshold_rule,
    scores.value desc nulls last, scores.arm
