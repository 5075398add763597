"""The projection against independent linear algebra: eigenvectors, random subspaces, and rankings that must stay."""

import hashlib

import numpy as np
import pytest

from export.projection.matrix import Projection, directions


def features(count=60, dim=24, seed=0):
    """Return unit vectors (count, dim) whose mean is not zero and whose directions differ in size."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, dim)) * np.linspace(3, 0.2, dim) + 0.5
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_the_directions_are_the_eigenvectors_of_the_inner_products():
    known = features()
    sizes, vectors = np.linalg.eigh(known.astype(np.float64).T @ known.astype(np.float64))
    largest = vectors[:, np.argsort(-sizes)]
    cosines = np.abs((directions(known) * largest).sum(axis=0))
    assert np.allclose(cosines, 1, atol=1e-5)


def test_no_other_projection_keeps_the_inner_products_better():
    known = features()
    inner = known @ known.T

    def error(matrix):
        return np.linalg.norm(inner - (known @ matrix) @ (known @ matrix).T)

    ours = error(directions(known)[:, :6])
    random = np.random.default_rng(1)
    others = [np.linalg.qr(random.normal(size=(24, 6)))[0] for _ in range(20)]
    assert all(ours < error(other) for other in others)


def test_with_all_directions_no_cosine_and_no_ranking_changes():
    known, unseen = features(), features(seed=7)
    short = Projection(directions(known), 60, "0" * 64).apply(unseen)
    assert np.abs(short @ short.T - unseen @ unseen.T).max() < 1e-6
    assert (np.argsort(-(short @ short.T), axis=1) == np.argsort(-(unseen @ unseen.T), axis=1)).all()


def test_people_in_a_subspace_keep_their_ranking_in_as_many_numbers():
    """A projection to as many numbers as the features really have loses nothing."""
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(24, 5)))[0].astype(np.float32)
    known, unseen = features(dim=5) @ basis.T, features(dim=5, seed=3) @ basis.T
    matrix = directions(known)
    assert matrix.shape == (24, 5)
    short = Projection(matrix, 60, "0" * 64).apply(unseen)
    assert np.abs(short @ short.T - unseen @ unseen.T).max() < 1e-5


def test_equal_crops_span_few_directions_and_the_signs_are_fixed():
    known = np.repeat(features(count=4), 10, axis=0)
    assert directions(known).shape == (24, 4)
    matrix, columns = directions(features()), np.arange(24)
    assert (matrix[np.abs(matrix).argmax(axis=0), columns] > 0).all()
    assert np.abs(matrix - directions(-features())).max() < 1e-5


@pytest.mark.parametrize("dim", [1, 6])
def test_the_manifest_names_the_matrix_by_its_bytes(dim):
    matrix = directions(features())[:, :dim]
    entry = Projection(matrix, 60, "a" * 64).to_json()
    assert entry["sha256"] == hashlib.sha256(np.ascontiguousarray(matrix, "<f4").tobytes()).hexdigest()
    assert {key: entry[key] for key in ("from", "dim", "images", "images_sha256")} == {
        "from": 24,
        "dim": dim,
        "images": 60,
        "images_sha256": "a" * 64,
    }
