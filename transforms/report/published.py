"""Published rows that stand beside ours: other data, never in one table with them.

Belongs here: figures as they were published, and what their algebra implies. Does not: our own scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from transforms.multilabel_metrics import hamming_of_nothing, implied_labels_per_unit, implied_recall

#: Classes of the published rows.
N_CLASSES = 19
#: What the rows are of.
SOURCE = "a seminar's study: frozen DOFA vectors on BigEarthNet, 19 classes, thresholds of 0.5"


@dataclass(frozen=True)
class PublishedRow:
    """One probe of the published table.

    Attributes:
        probe: key in `probes.PROBES`.
        macro_f2: share, as are all below.
        micro_f2: of all labels together.
        hamming_loss: share of flags that are wrong.
        macro_precision: mean over classes.
        micro_precision: of all labels together.
    """

    probe: str
    macro_f2: float
    micro_f2: float
    hamming_loss: float
    macro_precision: float
    micro_precision: float

    @property
    def micro_recall(self) -> float:
        """Micro recall that micro precision and micro F2 imply."""
        return implied_recall(self.micro_precision, self.micro_f2)

    @property
    def labels_per_patch(self) -> float:
        """Labels a patch that Hamming loss, precision and recall imply."""
        return implied_labels_per_unit(self.hamming_loss, self.micro_precision, self.micro_recall, N_CLASSES)

    @property
    def hamming_of_nothing(self) -> float:
        """Hamming loss of predicting nothing on those labels."""
        return hamming_of_nothing(self.labels_per_patch, N_CLASSES)


PUBLISHED_ROWS = (
    PublishedRow("random_forest", 0.214, 0.358, 0.123, 0.52, 0.72),
    PublishedRow("logistic", 0.229, 0.353, 0.124, 0.49, 0.70),
    PublishedRow("mlp", 0.345, 0.478, 0.113, 0.58, 0.71),
)
