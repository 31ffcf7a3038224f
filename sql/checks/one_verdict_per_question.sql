-- purpose: a question has one primary contrast per year, label source and scheme; two would be a choice after the fact
-- grain: one failing row per year, question, label source and scheme with several
-- inputs: out_probe__contrasts
-- meaning: A question would have two answers to choose from after the fact.
-- fix: Remove out_probe__contrasts of that year and run `isthmus evaluate`; leave one primary arm in [evaluate].
select year, question, label_source, scheme, count(*) as n_primary, list_sort(list(arm)) as arms
from out_probe__contrasts
where is_primary
group by year, question, label_source, scheme
having count(*) > 1
