-- purpose: labels are of the year of the embeddings that they score: ground changes in between
-- grain: one failing row per label source and embedding year scored on labels of another year
-- inputs: out_probe__metrics
-- meaning: The ground changed between label and embedding; some of what counts as an error is change.
-- fix: Map a nearer label year in labels.<name>.years where there is one; else say the distance beside the score.
select distinct label_source, year, label_year, year - label_year as years_apart
from out_probe__metrics
where label_year is not null and label_year <> year
