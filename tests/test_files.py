"""Files of users: what is odd is a sentence, what is written is whole."""

import io
import os
import zipfile

import numpy as np
import pytest

from pyvgrad.errors import VgradError
from pyvgrad.files import (
    check_writable,
    make_folder,
    read_dataset,
    replacing,
    write_bytes,
)

X = np.arange(12.0).reshape(2, 3, 2)


def header(shape):
    """The beginning of an array of float64 that is not there."""
    file = io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()


def zipped(path, name, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, content)


ARRAYS = {
    "no x": {"z": X},
    "objects": {"x": np.array([[[None]]], object)},
    "complex": {"x": X + 1j},
    "texts": {"x": np.array([[["a"]]])},
    "truth values": {"x": X > 0},
    "0-d": {"x": 3.0},
    "no sequence": {"x": X[:0]},
    "no step": {"x": X[:, :0]},
    "no channel": {"x": X[:, :, :0]},
    "NaN": {"x": X * np.nan},
    "beyond a double": {"x": X.astype(np.longdouble) * np.longdouble("1e4000")},
    "float lengths": {"x": X, "lengths": [1.0, 2.0]},
    "NaN in lengths": {"x": X, "lengths": [1.0, np.nan]},
    "one length": {"x": X, "lengths": 3},
    "length 0": {"x": X, "lengths": [0, 3]},
    "a length too long": {"x": X, "lengths": [1, 4]},
    "a huge length": {"x": X, "lengths": np.array([1, 2**63], np.uint64)},
    "objects as lengths": {"x": X, "lengths": np.array([1, None], object)},
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_that_are_no_sequences_are_one_sentence(tmp_path, what):
    path = tmp_path / "X.npz"
    np.savez(path, **ARRAYS[what])
    with pytest.raises(VgradError, match=r"X\.npz: ") as refused:
        read_dataset(path)
    assert "\n" not in str(refused.value)


def test_other_arrays_of_the_file_are_not_looked_at(tmp_path):
    path = tmp_path / "X.npz"
    np.savez(path, x=X, names=np.array(["a", None], object))
    data = read_dataset(path)
    assert np.array_equal(data.x, X)
    assert data.lengths.tolist() == [3, 3]
    assert data.y is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", b"hello"),
        ("x", b"hello"),
        ("x.npy", b""),
        ("x.npy", header((10**6, 10**6, 9))),
        ("x.npy", header((-1, 3, 2))),
        ("x.npy", header((2, 3, 2))),
        ("x.npy", b"\x93NUMPY\x01\x00\xff\xff"),
    ],
)
def test_an_archive_without_arrays_is_one_sentence(tmp_path, name, content):
    path = tmp_path / "X.npz"
    zipped(path, name, content)
    with pytest.raises(VgradError, match=r"X\.npz: "):
        read_dataset(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_read_right_or_is_one_sentence(tmp_path, write):
    path = tmp_path / "X.npz"
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 6))
    write(path, x=x)
    good = path.read_bytes()
    refused = 0
    for at in rng.integers(len(good), size=300):
        damaged = bytearray(good)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            assert np.array_equal(read_dataset(path).x, x)
        except VgradError:
            refused += 1
    for end in range(0, len(good), 7):
        path.write_bytes(good[:end])
        with pytest.raises(VgradError):
            read_dataset(path)
    assert refused > 100


def test_an_array_alone_and_a_folder_are_one_sentence(tmp_path):
    np.save(tmp_path / "x.npy", X)
    for path in (tmp_path / "x.npy", tmp_path, tmp_path / "gone"):
        with pytest.raises(VgradError, match=path.name):
            read_dataset(path)


# ---- writing -----------------------------------------------------------------


def test_what_fails_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as new:
            new.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_plain_files_are_replaced(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)  # stands for /dev/stdout and /dev/null, too
    folder.mkdir()
    for path in (pipe, folder):
        with pytest.raises(VgradError, match="not a plain file"):
            write_bytes(path, b"new")
    assert pipe.is_fifo()
    assert sorted(tmp_path.iterdir()) == [folder, pipe]


def test_a_link_stays_a_link_and_its_file_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link, file = tmp_path / "link", tmp_path / "there" / "file"
    link.symlink_to(file)
    for data in (b"new", b"newer"):
        write_bytes(link, data)
        assert link.is_symlink()
        assert file.read_bytes() == data


def test_a_missing_folder_is_said_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "no" / "a", tmp_path / "file" / "a"):
        with pytest.raises(VgradError, match="there is no folder"):
            check_writable(path)
    with pytest.raises(VgradError, match="another folder"):
        make_folder(tmp_path / "file")
