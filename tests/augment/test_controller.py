import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pushforward.augment.controller import Controller

READS = ["item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero", "numpy", "cpu"]


def p_of(controller: Controller) -> float:
    return controller.p.item()


def test_p_rises_by_examples_over_speed_where_all_logits_are_positive():
    controller = Controller(speed=500_000)
    for step in range(1, 6):
        controller.observe(torch.full((64,), 0.1))
        controller.adjust(256)
        assert p_of(controller) == pytest.approx(step * 256 / 500_000, rel=1e-5)


def test_p_falls_by_examples_over_speed_where_all_logits_are_negative():
    controller = Controller(p=0.5, speed=1000)
    for step in range(1, 4):
        controller.observe(-torch.rand(64) - 0.1)
        controller.adjust(100)
        assert p_of(controller) == pytest.approx(0.5 - step * 0.1, rel=1e-5)


def test_half_a_million_examples_take_p_from_0_to_1_by_default():
    controller = Controller()
    for _ in range(499):
        controller.observe(torch.ones(4))
        controller.adjust(1000)
    assert p_of(controller) == pytest.approx(0.998, abs=1e-4)
    for _ in range(5):
        controller.observe(torch.ones(4))
        controller.adjust(1000)
    assert p_of(controller) == 1


@pytest.mark.parametrize(("positive", "direction"), [(79, -1), (81, 1)])
def test_the_target_is_a_mean_sign_of_0_6_which_is_four_positive_in_five(positive, direction):
    controller = Controller(p=0.5)
    controller.observe(torch.cat([torch.full((positive,), 3.0), torch.full((100 - positive,), -0.01)]))
    controller.adjust(5000)
    assert p_of(controller) == pytest.approx(0.5 + direction * 0.01, rel=1e-5)


def test_signs_of_all_micro_batches_count_by_their_sizes():
    logits = torch.cat([torch.ones(81), -torch.ones(19)])
    whole, cut = Controller(p=0.5), Controller(p=0.5)
    whole.observe(logits)
    for part in logits.split([1, 70, 20, 9]):  # the mean over parts would be 0.25
        cut.observe(part)
    for controller in (whole, cut):
        controller.adjust(5000)
    assert p_of(whole) == p_of(cut) == pytest.approx(0.51, rel=1e-5)


def test_processes_move_p_by_what_all_of_them_saw():
    mine, other = Controller(p=0.5), Controller(p=0.5)
    mine.observe(torch.ones(30))  # alone, p would rise
    other.observe(-torch.ones(10))  # the mean sign of all 40 is 0.5

    def reduce(tensors: list[Tensor]) -> None:
        (own,) = tensors
        own.copy_((own + other._signs) / 2)

    mine.gather(reduce)
    mine.adjust(5000)
    assert p_of(mine) == pytest.approx(0.49, rel=1e-5)


def test_what_was_observed_is_forgotten_with_each_adjustment():
    controller = Controller(p=0.5)
    controller.observe(torch.ones(1000))
    controller.adjust(5000)
    controller.observe(-torch.ones(1))
    controller.adjust(5000)
    assert p_of(controller) == pytest.approx(0.5, rel=1e-5)


def test_p_stays_where_nothing_was_observed_and_where_there_is_no_target():
    unseen, held = Controller(p=0.25), Controller(p=0.25, target=None)
    held.observe(torch.ones(8))
    for controller in (unseen, held):
        controller.adjust(5000)
        assert p_of(controller) == 0.25


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 700)), max_size=20), st.floats(0, 1))
def test_p_never_leaves_0_to_1(rounds, start):
    controller = Controller(p=start, speed=1000)
    for logit, examples in rounds:
        controller.observe(torch.tensor([logit]))
        controller.adjust(examples)
        assert 0 <= p_of(controller) <= 1


def test_a_restored_controller_goes_on_as_one_that_was_never_stopped():
    first, other = Controller(p=0.3), Controller(p=0.7)
    first.observe(torch.ones(3))
    first.adjust(1000)
    first.observe(torch.ones(64))  # half way to the next adjustment
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    for controller in (first, other):
        controller.observe(-torch.ones(8))
        controller.adjust(1000)
    assert torch.equal(first.p, other.p)
    assert p_of(first) == pytest.approx(0.3 + 2 / 500, rel=1e-5)


def test_a_state_that_was_cut_does_not_follow_the_controller():
    controller = Controller(p=0.5)
    state = controller.state_dict()
    controller.observe(torch.ones(4))
    controller.adjust(1000)
    assert state["p"].item() == 0.5
    assert state["signs"].tolist() == [0, 0]


def test_a_scheduled_p_is_what_was_set_last():
    controller = Controller(target=None)
    for p in (0.0, 0.4, 1.0):
        controller.set(p)
        assert p_of(controller) == pytest.approx(p)


def test_it_is_off_only_where_the_host_knows_that_p_is_0_and_stays_so():
    assert not Controller().off
    held = Controller(target=None)
    assert held.off
    held.set(0.1)
    assert not held.off
    restored = Controller(target=None)
    moved = Controller(speed=10)
    moved.observe(torch.ones(1))
    moved.adjust(5)
    restored.load_state_dict(moved.state_dict())
    assert not restored.off


def test_nothing_is_read_back_from_the_device(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the host waited for the device")

    controller, logits = Controller(), torch.ones(8, requires_grad=True)
    with monkeypatch.context() as patch:
        for name in READS:
            patch.setattr(Tensor, name, refuse)
        controller.observe(logits)
        controller.gather(lambda tensors: None)
        controller.adjust(5000)
        controller.set(0.5)
        controller.observe(logits)
        controller.adjust(5000)
    assert p_of(controller) == pytest.approx(0.51)
    assert not controller.p.requires_grad


def test_logits_of_low_precision_are_counted_exactly():
    controller = Controller(p=0.5)
    controller.observe(torch.ones(1001).bfloat16())
    assert controller._signs.tolist() == [1001, 1001]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"p": 1.5}, "probability, from 0 to 1, got 1.5"),
        ({"p": -0.1}, "probability, from 0 to 1, got -0.1"),
        ({"target": 1.0}, "between -1 and 1, got 1.0; give 0.6"),
        ({"speed": 0}, "positive number of examples .* got 0"),
    ],
)
def test_what_is_no_probability_target_or_speed_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Controller(**given)
