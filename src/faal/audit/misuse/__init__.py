"""Checks for misuse: conditions under which an audit's accuracies are misleading.

Each finding is a warning in the result: the observation, its effect on the accuracies, and the remedy. Most checks
compare values: the settings and the clean pass (`settings.py`), equal images (`train_test_overlap.py`), repeated
forward passes (`determinism.py`), layers that normalise (`double_normalisation.py`). The others are statistical tests:
of the clean predictions (`class_order.py`), and of a few samples, drawn with the audit's seed (`input_scaling.py`,
`gradient_masking.py`). Each of these raises a false alarm with probability at most 1/1,000, all
together 1/200; `samples.py` has the constants of the tests, and each check states its null hypothesis.
No check changes a verdict. After the first check with extra forward passes that warns, the later ones are skipped.

In total they cost at most about 64 x (200 + 20 x 3) + 6 x 256 forward passes: 3 % of a PGD-20 on 10,000 images. A
smaller audit is checked on fewer samples, at least 16: on 250 images that is 30 % of a PGD-20.
"""
