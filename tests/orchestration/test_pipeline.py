def test_x(tiny_run):
    for o in tiny_run.outcomes: print(o)
    assert 0
