"""The closed-form fit of a hybrid model: whitening, and features that join the others as if they were concatenated."""

import torch
from torch.nn import functional as F

from prune.training.whitening import fit_skip, least_used_directions, within_whitening
from tests.fakes import lite


def people(count, per_person, size, seed=0):
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count).repeat_interleave(per_person)
    centres = torch.randn(count, size, generator=random)
    mixing = torch.randn(size, size, generator=random)
    return centres[labels] + torch.randn(len(labels), size, generator=random) @ mixing, labels


def test_the_scatter_within_people_becomes_the_identity():
    features, labels = people(30, 20, 12)
    mean, whitening = within_whitening(features, labels, shrinkage=0)
    white = (features.double() - mean) @ whitening
    residuals = white - torch.stack([white[labels == label].mean(dim=0) for label in range(30)])[labels]
    assert torch.allclose(residuals.T @ residuals / len(white), torch.eye(12).double(), atol=1e-8)
    # with full shrinkage all directions count alike
    _, isotropic = within_whitening(features, labels, shrinkage=1)
    assert torch.allclose(isotropic, isotropic[0, 0] * torch.eye(12).double())


def test_directions_that_the_descriptors_never_use_are_found():
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(20, 20, generator=random).double())[0]
    descriptors = torch.randn(100, 8, generator=random).double() @ basis[:, :8].T
    found = least_used_directions(descriptors, 12)
    assert torch.allclose(found.T @ found, torch.eye(12).double(), atol=1e-9)
    assert (descriptors @ found).abs().max() < 1e-9


def test_similarities_add_as_if_the_features_were_concatenated():
    network = lite.model(variant="hybrid_lite")
    size = network.base.stem.skip.in_features
    pooled, labels = people(40, 8, size)
    # the ViT's descriptors use 60 of 960 directions
    descriptors = torch.randn(len(labels), 60) @ torch.randn(60, network.architecture.dim)
    fit_skip(network, pooled, descriptors, labels, shrinkage=0.3, strength=0.5)
    with torch.no_grad():
        parts = network.base.stem.skip(pooled).chunk(5, dim=1)
    added = torch.cat([parts[0], *(part / 4 for part in parts[1:])], dim=1).double()
    descriptors = descriptors.double()
    joined = (descriptors + added) @ (descriptors + added).T
    concatenated = descriptors @ descriptors.T + added @ added.T
    scale = concatenated.diagonal().mean()
    assert (joined - concatenated).abs().max() < 1e-3 * scale
    assert abs(added.norm(dim=1).mean() / descriptors.norm(dim=1).mean() - 0.5) < 1e-3
    mean, whitening = within_whitening(pooled, labels, shrinkage=0.3)
    white = (pooled.double() - mean) @ whitening
    kept = torch.linalg.eigh(white.T @ white)[1][:, -864:] if size > 864 else torch.eye(size).double()
    similar, expected = F.normalize(added, dim=1), F.normalize(white @ kept, dim=1)
    assert (similar @ similar.T - expected @ expected.T).abs().max() < 1e-3
