"""The data sets that `faal data` downloads: addresses, sizes and digests, and the references for them.

MNIST and Fashion-MNIST:
    Names and MD5 of the files: torchvision 0.29.1, `torchvision/datasets/mnist.py`. Sizes and SHA-256:
    tensorflow-datasets 4.9.10, `tensorflow_datasets/url_checksums/mnist.txt` and `fashion_mnist.txt`.
    MNIST's address is the first of torchvision's. The official one of Fashion-MNIST has no https; the address here is
    that of Keras 3.15.1, `keras/src/datasets/fashion_mnist.py`, for the same files.
CIFAR-10 and CIFAR-100:
    Addresses, names and MD5: torchvision 0.29.1, `torchvision/datasets/cifar.py`. SHA-256: Keras 3.15.1,
    `keras/src/datasets/cifar10.py` and `cifar100.py`. Sizes: as the server reports them in the progress bars of both
    packages. Unpacked sizes: the sums of the files' sizes in public listings.
"""

from dataclasses import dataclass
from pathlib import Path

from faal.data.cache import user_cache


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a download: its name below the source's address, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class OfficialSource:
    """A data set at its official source.

    Attributes:
        title: its name in messages.
        address: of the files; ends with a slash.
        files: one archive (`unpacked` is set), or the files themselves.
        folder: their folder below DIR, as torchvision's below its root.
        unpacked: for an archive, the sum of the sizes of its files in bytes.
        scheme: the only one that is used, after redirections too.
    """

    title: str
    address: str
    files: tuple[File, ...]
    folder: str
    unpacked: int | None = None
    scheme: str = "https"

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


SOURCES = {
    "cifar10": OfficialSource(
        title="CIFAR-10",
        address="https://www.cs.toronto.edu/~kriz/",
        files=(
            File(
                name="cifar-10-python.tar.gz",
                size=170_498_071,
                sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        folder="cifar-10-batches-py",
        unpacked=186_214_114,
    ),
    "cifar100": OfficialSource(
        title="CIFAR-100",
        address="https://www.cs.toronto.edu/~kriz/",
        files=(
            File(
                name="cifar-100-python.tar.gz",
                size=169_001_437,
                sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            ),
        ),
        folder="cifar-100-python",
        unpacked=186_301_098,
    ),
    "fashion-mnist": OfficialSource(
        title="Fashion-MNIST",
        address="https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        files=(
            File(
                name="train-images-idx3-ubyte.gz",
                size=26_421_880,
                sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            File(
                name="train-labels-idx1-ubyte.gz",
                size=29_515,
                sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            File(
                name="t10k-images-idx3-ubyte.gz",
                size=4_422_102,
                sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            File(
                name="t10k-labels-idx1-ubyte.gz",
                size=5_148,
                sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        folder="FashionMNIST/raw",
    ),
    "mnist": OfficialSource(
        title="MNIST",
        address="https://ossci-datasets.s3.amazonaws.com/mnist/",
        files=(
            File(
                name="train-images-idx3-ubyte.gz",
                size=9_912_422,
                sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            File(
                name="train-labels-idx1-ubyte.gz",
                size=28_881,
                sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            File(
                name="t10k-images-idx3-ubyte.gz",
                size=1_648_877,
                sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            File(
                name="t10k-labels-idx1-ubyte.gz",
                size=4_542,
                sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        folder="MNIST/raw",
    ),
}
"""Data set, as after `--data` -> its source."""

TORCHVISION = Path("data")
"""The root that torchvision's examples use."""


def cache_folder(name: str) -> Path:
    """The folder of `faal data` for a data set: `$XDG_CACHE_HOME/faal/NAME`, or `~/.cache/faal/NAME`."""
    return user_cache() / name
