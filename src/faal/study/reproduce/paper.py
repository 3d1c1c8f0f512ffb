"""The results in the FAAL paper (Zhang et al., CVPR 2024); none was computed by this program.

Accuracies in per cent, (average, worst class). Times in minutes per epoch.
"""

PrintedAccuracies = dict[str, tuple[float, float]]
"""Attack -> (average, worst class) in per cent."""


def _four(*pairs: tuple[float, float]) -> PrintedAccuracies:
    return dict(zip(("clean", "pgd20", "cw20", "autoattack"), pairs, strict=True))


def _two(clean: tuple[float, float], autoattack: tuple[float, float]) -> PrintedAccuracies:
    return {"clean": clean, "autoattack": autoattack}


TABLE1 = {
    "pgd-at": _four((86.07, 69.70), (55.90, 29.90), (54.29, 28.30), (52.46, 24.40)),
    "pgd-at--frl-rwrm-0.05": _four((83.25, 74.80), (50.37, 38.10), (49.77, 36.60), (46.97, 33.10)),
    "pgd-at--frl-rwrm-0.07": _four((85.12, 71.60), (52.56, 37.10), (51.92, 35.50), (49.60, 31.70)),
    "pgd-at--faal-at": _four((86.23, 69.70), (54.00, 37.60), (53.11, 36.90), (50.81, 35.70)),
    "pgd-at--faal-at-awp": _four((85.47, 69.40), (56.46, 39.20), (54.50, 38.10), (52.47, 36.90)),
    "trades": _four((84.92, 67.00), (55.32, 27.10), (53.92, 24.80), (52.51, 23.20)),
    "trades--frl-rwrm-0.05": _four((82.90, 72.70), (53.16, 40.60), (51.39, 36.30), (49.97, 35.40)),
    "trades--frl-rwrm-0.07": _four((85.19, 70.90), (53.76, 39.20), (52.92, 36.80), (51.30, 34.60)),
    "trades--faal-at": _four((85.96, 75.00), (53.46, 39.80), (52.72, 38.20), (50.91, 35.30)),
    "trades--faal-at-awp": _four((85.39, 72.90), (56.07, 43.30), (54.16, 38.60), (52.45, 35.40)),
    "mart": _four((83.62, 67.90), (56.22, 32.50), (52.79, 25.70), (50.95, 22.00)),
    "mart--frl-rwrm-0.05": _four((83.72, 71.80), (52.16, 37.50), (50.73, 35.00), (49.19, 31.70)),
    "mart--frl-rwrm-0.07": _four((82.09, 71.80), (50.86, 36.00), (49.78, 33.00), (47.78, 30.30)),
    "mart--faal-at": _four((83.49, 68.00), (51.65, 37.80), (50.36, 37.10), (48.63, 34.00)),
    "mart--faal-at-awp": _four((82.17, 64.00), (54.31, 39.50), (51.72, 37.70), (50.31, 36.40)),
    "trades-awp": _four((85.35, 67.90), (59.20, 28.80), (57.14, 26.50), (56.18, 25.80)),
    "trades-awp--frl-rwrm-0.05": _four((82.31, 65.90), (49.90, 31.70), (49.68, 34.00), (46.50, 27.70)),
    "trades-awp--frl-rwrm-0.07": _four((84.24, 65.70), (48.63, 30.90), (49.77, 31.50), (46.53, 28.60)),
    "trades-awp--faal-at": _four((87.02, 76.30), (52.54, 35.00), (51.70, 34.40), (49.87, 30.60)),
    "trades-awp--faal-at-awp": _four((86.75, 74.80), (57.14, 43.40), (55.34, 40.10), (53.93, 37.00)),
}
"""Fine-tuning WRN-34-10 on CIFAR-10."""

TABLE2 = {
    "pgd-at": _two((82.72, 55.80), (47.38, 12.90)),
    "trades": _two((82.54, 66.10), (49.05, 20.70)),
    "cfa-at": _two((80.82, 64.60), (50.10, 24.40)),
    "cfa-trades": _two((80.36, 66.20), (50.10, 26.50)),
    "wat": _two((80.37, 66.00), (46.16, 30.70)),
    "faal-at": _two((82.20, 62.90), (49.10, 33.70)),
    "faal-trades": _two((81.62, 68.90), (48.48, 33.60)),
}
"""PreActResNet-18 on CIFAR-10 from scratch."""

TABLE3 = {
    "trades": _two((54.57, 19.00), (23.57, 1.00)),
    "trades--frl-rwrm-0.05": _two((52.55, 22.00), (21.11, 2.00)),
    "trades--faal-at": _two((58.50, 21.00), (21.91, 2.00)),
    "trades--faal-at-awp": _two((58.41, 19.00), (23.44, 2.00)),
    "trades--faal-trades": _two((54.96, 18.00), (22.71, 2.00)),
    "trades--faal-trades-awp": _two((54.90, 18.00), (23.25, 2.00)),
    "cfa-trades": _two((55.57, 23.00), (24.56, 2.00)),
    "wat": _two((53.99, 19.00), (22.89, 3.00)),
    "faal-at": _two((56.84, 16.00), (21.85, 3.00)),
    "faal-trades": _two((55.87, 21.00), (23.57, 3.00)),
}
"""ResNet-18 on CIFAR-100."""

TABLE4 = {
    "trades": {"cifar10-prn18": 2.63, "cifar100-rn18": 2.68},
    "frl-rwrm": {"cifar10-prn18": 2.73, "cifar100-rn18": 2.80},
    "wat": {"cifar10-prn18": 2.88, "cifar100-rn18": 3.00},
    "cfa-trades": {"cifar10-prn18": 2.75, "cifar100-rn18": 2.78},
    "faal-trades": {"cifar10-prn18": 2.69, "cifar100-rn18": 2.73},
}
"""Minutes per epoch by method, on one NVIDIA 3090Ti."""

PROPERTIES = {
    "trades": ("fixed", False, False),
    "frl-rwrm": ("epoch", False, True),
    "wat": ("epoch", False, True),
    "cfa-trades": ("epoch", True, True),
    "faal-trades": ("batch", True, False),
}
"""The other columns of table 4: (reweighting level, adversary free, validation set). The tests compare the method
table with them."""
