-- purpose: a question has one primary contrast per year, label source and scheme; two would be a choice after the fact
-- grain: one failing row per year, question, label source and scheme with several
-- inputs: out_probe__contrasts
select year, question, label_source, scheme, count(*) as n_primary, list_sort(list(arm)) as arms
from out_probe__contrasts
where is_primary
group by year, question, label_source, scheme
having count(*) > 1
