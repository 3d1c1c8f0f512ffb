"""The handwritten digits of scikit-learn: small enough for a laptop, with classes of unequal robustness."""

import torch

from faal.data.checks import as_images, as_labels
from faal.data.dataset import DataSet, Split

SPLIT_SEED = 0
"""The seed of the split into training and test images, the same for every run and every seed."""


def digits() -> DataSet:
    """1,797 digits, 8x8, one channel: 898 for training, 899 for testing, with equal shares of every class.

    The source has 17 gray levels, 0 to 16, scaled to 0 to 255. The halves are scikit-learn's stratified split with
    `random_state` 0, each in the source's order.
    """
    from sklearn.datasets import load_digits  # slow to import, so only where digits are read
    from sklearn.model_selection import train_test_split

    levels, values = load_digits(return_X_y=True)
    pixels = torch.from_numpy(levels.reshape(-1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    full = Split(as_images(pixels, "digits"), as_labels(values, "digits"))
    halves = train_test_split(range(full.n), test_size=0.5, stratify=values, random_state=SPLIT_SEED)
    train, test = (full.take(torch.tensor(sorted(half))) for half in halves)
    return DataSet("digits", tuple("0123456789"), train, test)
