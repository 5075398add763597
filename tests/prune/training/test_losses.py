"""Losses against formulas written out by hand, one image at a time."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prune.model.architecture import unpruned
from prune.model.transreid import TransReID
from prune.training import losses
from runtime.errors import ConfigError


def cross_entropy(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def test_identity_loss_is_half_global_half_mean_of_the_locals():
    torch.manual_seed(0)
    heads = [torch.randn(4, 3, dtype=torch.float64) for _ in range(5)]
    labels = [0, 2, 1, 1]
    per_head = [
        sum(cross_entropy(row, label) for row, label in zip(head.tolist(), labels)) / 4 for head in heads
    ]
    expected = 0.5 * per_head[0] + 0.5 * sum(per_head[1:]) / 4
    assert float(losses.identity_loss(heads, torch.tensor(labels))) == pytest.approx(expected, rel=1e-6)
    assert float(losses.identity_loss(heads[:1], torch.tensor(labels))) == pytest.approx(
        per_head[0], rel=1e-6
    )


def hard_pairs(points: list[list[float]], labels: list[int]) -> list[tuple[float, float]]:
    """(distance to the farthest positive, to the nearest negative) of every anchor."""
    pairs = []
    for anchor, label in zip(points, labels):
        far = max(math.dist(anchor, other) for other, name in zip(points, labels) if name == label)
        near = min(math.dist(anchor, other) for other, name in zip(points, labels) if name != label)
        pairs.append((far, near))
    return pairs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 20))
def test_soft_margin_triplet_equals_a_loop_over_anchors(seed, scale):
    features = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed)) * scale
    labels = [0, 0, 1, 1, 1, 2, 2, 2]
    pairs = hard_pairs(features.tolist(), labels)
    soft = sum(math.log1p(math.exp(far - near)) for far, near in pairs) / 8
    margin = sum(max(far - near + 0.3, 0) for far, near in pairs) / 8
    target = torch.tensor(labels)
    assert float(losses.batch_hard_triplet(features, target)) == pytest.approx(soft, rel=1e-3)
    hinge = float(losses.batch_hard_triplet(features, target, margin=0.3))
    assert hinge == pytest.approx(margin, rel=1e-3, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 2))
def test_supervised_contrastive_equals_a_loop_over_anchors_and_positives(seed, temperature):
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    labels = [0, 0, 1, 1, 1, 2, 2]
    unit = [[value / math.hypot(*row) for value in row] for row in features.tolist()]

    def similar(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(unit[a], unit[b])) / temperature

    terms = []
    for anchor in range(7):
        whole = math.log(sum(math.exp(similar(anchor, other)) for other in range(7) if other != anchor))
        positives = [b for b in range(7) if b != anchor and labels[b] == labels[anchor]]
        terms.append(sum(whole - similar(anchor, positive) for positive in positives) / len(positives))
    ours = losses.supervised_contrastive(features, torch.tensor(labels), temperature=temperature)
    assert float(ours) == pytest.approx(sum(terms) / 7, rel=1e-3, abs=1e-4)


def test_an_anchor_without_a_positive_costs_nothing_and_gradients_stay_finite():
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    pair = losses.supervised_contrastive(features, torch.tensor([0, 0, 1, 2]), temperature=0.1)
    pair.backward()
    assert float(pair.detach()) > 0 and bool(features.grad.isfinite().all())
    lone = losses.supervised_contrastive(features, torch.arange(4), temperature=0.1)
    assert float(lone.detach()) == 0


def test_triplet_is_taken_on_features_that_are_not_normalised():
    features, labels = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    original, scaled = (losses.batch_hard_triplet(features * factor, labels) for factor in (1, 10))
    assert not torch.isclose(original, scaled)


@pytest.mark.parametrize(
    "features",
    [torch.zeros(4, 3), torch.ones(4, 3), torch.full((4, 3), 1e4)],
    ids=["zeros", "equal", "large and equal"],
)
def test_triplet_has_a_finite_gradient_where_images_are_equal(features):
    features = features.clone().requires_grad_()
    losses.batch_hard_triplet(features, torch.tensor([0, 0, 1, 1])).backward()
    assert features.grad.isfinite().all()


def test_triplet_of_a_batch_without_negatives_is_zero_with_a_finite_gradient():
    features = torch.randn(3, 2, requires_grad=True)
    loss = losses.batch_hard_triplet(features, torch.tensor([5, 5, 5]))
    loss.backward()
    assert float(loss.detach()) == 0 and features.grad.isfinite().all()


def softmax(values: list[float], temperature: float) -> list[float]:
    weights = [math.exp(value / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


def test_soft_distillation_is_the_mean_over_heads_of_kl_over_images_and_identities():
    torch.manual_seed(1)
    student, teacher = ([torch.randn(2, 3, dtype=torch.float64) for _ in range(5)] for _ in range(2))
    temperature, heads = 4.0, []
    for ours, theirs in zip(student, teacher):
        total = 0.0
        for row, wanted in zip(ours.tolist(), theirs.tolist()):
            q, p = softmax(row, temperature), softmax(wanted, temperature)
            total += sum(a * math.log(a / b) for a, b in zip(p, q))
        heads.append(total * temperature**2 / (2 * 3))
    loss = losses.distill_soft(student, teacher, temperature=temperature)
    assert float(loss) == pytest.approx(sum(heads) / 5, rel=1e-4)
    assert float(losses.distill_soft(teacher, teacher, temperature=temperature)) == pytest.approx(0, abs=1e-7)


def test_hard_distillation_asks_for_the_teachers_best_identity():
    student, teacher = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 1.0, 3.0]])
    assert float(losses.distill_hard(student, teacher)) == pytest.approx(
        cross_entropy([1.0, 2.0, 0.5], 2), rel=1e-6
    )


def test_feature_distillation_is_one_minus_the_cosine_and_knows_no_length():
    student = [torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0], [5.0, 0.0]])]
    teacher = [torch.tensor([[4.0, 3.0], [-1.0, 0.0]]), torch.tensor([[0.0, 0.1], [0.0, 7.0]])]
    # cosines 24/25 and -1 for one head, 1 and 0 for the other
    expected = ((1 - 24 / 25) + 2 + 0 + 1) / 4
    assert float(losses.distill_features(student, teacher)) == pytest.approx(expected, rel=1e-5)
    longer = [9 * part for part in teacher]
    assert float(losses.distill_features(longer, teacher)) == pytest.approx(0, abs=1e-6)


def test_training_loss_reads_parts_before_the_necks_and_logits_after_them():
    class Fake(nn.Module):
        architecture = SimpleNamespace(identities=2)

        def parts(self, images, camera_ids=None):
            return [images, 2 * images]

        def logits(self, parts):
            return [part[:, :2] + 1 for part in parts]

        def compared(self, parts):
            return parts

    images, labels = torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
    parts = [images, 2 * images]
    expected = losses.identity_loss([part[:, :2] + 1 for part in parts], labels)
    expected = expected + 0.5 * sum(losses.batch_hard_triplet(part, labels) for part in parts)
    assert torch.allclose(losses.training_loss(Fake(), images, labels, None), expected)


def test_labels_beyond_the_classifier_are_refused_in_words():
    model = TransReID(unpruned("vit_lite", height=64, width=32, identities=3))
    with pytest.raises(ConfigError, match="3 identities.*at least 4"):
        losses.training_loss(model, torch.zeros(2, 3, 64, 32), torch.tensor([0, 3]), None)
