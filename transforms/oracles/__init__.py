"""Oracles: what labels alone say about the room that an answer has, before anything is trained.

`constant_labels.py` holds C0, C1 and C4, `fractions.py` C3, `agreement.py` C6, `tally.py` counts them a batch of
patches at a time, `rows.py` scores the counts, `maps.py` scores their maps, `ladder.py` reads an arm's score against
them.
Nothing is re-exported here: import from the module that owns a name.
"""
