from __future__ import annotations

import pytest

from brittle.evaluation import pace
from brittle.evaluation.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(pace, "monotonic", lambda: now[0])
    return now


def test_without_a_deadline_every_batch_is_whole(clock):
    measured = Pace(None)
    with measured.timing(10, 4):
        clock[0] += 1e6
    assert measured.batch(1000, 64) == 64
    assert not measured.too_slow(1000, 10**6)


def test_the_forecast_is_the_mean_over_samples_and_gradients(clock):
    measured = Pace(1100.0)
    assert measured.seconds(10, 5) == 0.0
    with measured.timing(10, 4):  # 40 gradients in 8 seconds
        clock[0] += 8.0
    with measured.timing(5, 12):  # 60 in 2
        clock[0] += 2.0
    assert measured.seconds(30, 3) == pytest.approx(0.1 * 90)
    assert measured.too_slow(30, 31)  # 93 seconds, 90 left
    assert not measured.too_slow(30, 29)


def test_the_first_batch_of_an_attack_is_forecast_from_those_before_and_the_rest_from_its_own(clock):
    measured = Pace(1100.0)
    measured.next_attack()
    with measured.timing(10, 4):
        clock[0] += 8.0
    measured.next_attack()
    assert measured.seconds(100, 3) == pytest.approx(0.2 * 300)
    with measured.timing(100, 2):  # it gives up early
        clock[0] += 4.0
    assert measured.seconds(100, 3) == pytest.approx(0.02 * 300)


def test_batches_shrink_to_what_fits_and_stop_at_the_deadline(clock):
    measured = Pace(1100.0)
    assert measured.batch(50, 64) == 64  # nothing is known yet
    with measured.timing(10, 10):
        clock[0] += 10.0
    assert measured.batch(10, 64) == 64  # 64 seconds of 90
    assert measured.batch(50, 64) == 18
    clock[0] = 1099.0
    assert measured.batch(50, 64) == 1
    clock[0] = 1100.0
    assert measured.batch(50, 64) == 0


def test_time_of_an_attack_that_failed_is_not_a_measurement(clock):
    measured = Pace(1100.0)

    def failing():
        with measured.timing(10, 10):
            clock[0] += 5.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert measured.seconds(10, 10) == 0.0
