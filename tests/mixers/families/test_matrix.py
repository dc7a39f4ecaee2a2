"""A matrix in a file as a mixer."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
import torch

from mixers import MixerError, MixerNet, UnsupportedSize, create_mixer
from mixers.registry import mixer_entry, split_mixers


@pytest.fixture
def file(tmp_path, forget_plugins):
    path = tmp_path / "a (b).npy"
    np.save(path, np.random.default_rng(0).standard_normal((6, 6)).astype(np.float32))
    return path


def test_it_multiplies_the_tokens_by_the_matrix(file):
    mixer, x = create_mixer(str(file), 8, (2, 3)), torch.randn(2, 8, 2, 3)
    wanted = np.einsum("ij,bcj->bci", np.load(file), x.flatten(2).numpy()).reshape(2, 8, 2, 3)
    np.testing.assert_allclose(mixer(x).numpy(), wanted, atol=1e-5)
    torch.testing.assert_close(mixer(x).double(), mixer.reference(x), atol=1e-5, rtol=1e-5)


def test_the_registry_knows_it_by_name_and_digest(file):
    entry = mixer_entry(str(file))
    assert entry.name == file.name and entry.source == hashlib.sha256(file.read_bytes()).hexdigest()
    assert mixer_entry(entry.name) is entry
    assert [str(mixer) for mixer in split_mixers(f"dct,{file}")] == ["dct", str(file)]


def test_two_files_of_one_name_are_told_apart(file, tmp_path):
    mixer_entry(str(file))
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    np.save(other, np.eye(6))
    with pytest.raises(MixerError, match="rename one file"):
        mixer_entry(str(other))


def test_a_mixer_of_another_size_is_unsupported(file):
    with pytest.raises(UnsupportedSize, match="for 6 tokens, 3 x 3 are 9"):
        create_mixer(str(file), 8, (3, 3))


def test_a_checkpoint_says_which_matrix_it_is_of(file, tmp_path):
    other = tmp_path / "other.npy"
    np.save(other, np.eye(6))
    net, another = (MixerNet(str(path), 3, (2, 3), 1, 8, 1) for path in (file, other))
    net.load_state_dict(net.state_dict())
    with pytest.raises(MixerError, match="matrix="):
        another.load_state_dict(net.state_dict())


def test_the_matrix_survives_half_precision_and_a_pickle(file):
    mixer, x = create_mixer(str(file), 8, (2, 3)), torch.randn(1, 8, 2, 3)
    wanted = mixer(x)
    assert torch.equal(pickle.loads(pickle.dumps(mixer))(x), wanted)
    assert torch.equal(mixer.half().float()(x), wanted)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones((2, 3)), "2 x 3"),
        (np.ones(4), "is 4;"),
        (np.float64(3), "a single number"),
        (np.eye(4, dtype=int), "int64"),
        (np.eye(4, dtype=complex), "complex128"),
        (np.array([[None]]), "allow_pickle=False"),
        (np.full((2, 2), np.nan), "4 numbers that are not finite"),
        (np.full((2, 2), 1e39), "4 numbers that are not finite in float32"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.zeros((0, 0)), "0 x 0"),
    ],
)
def test_what_is_no_matrix_is_refused_in_one_line(tmp_path, array, says):
    path = tmp_path / "bad.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(MixerError) as caught:
        mixer_entry(str(path))
    message = str(caught.value)
    assert says in message and "\n" not in message and "allowed: (tokens, tokens) real floats" in message


def test_bytes_that_are_no_array_or_not_there_are_refused(tmp_path):
    path = tmp_path / "torn.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    with pytest.raises(MixerError, match=r"torn\.npy is no array"):
        mixer_entry(str(path))
    with pytest.raises(MixerError, match="there is no file"):
        mixer_entry(str(tmp_path / "none.npy"))
    several = tmp_path / "several.npy"
    with several.open("wb") as stream:
        np.savez(stream, a=np.eye(2))
    with pytest.raises(MixerError, match="several arrays"):
        mixer_entry(str(several))
