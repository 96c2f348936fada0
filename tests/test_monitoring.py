"""DriftMonitor: false alarms are as rare as it says, drifts are found, parts are as the whole."""

import json
from itertools import permutations, product

import joblib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from scipy.stats import binom
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.datasets import load_imagenet
from sklearn_densconf.displays import DriftDisplay
from sklearn_densconf.distortions import gaussian_noise
from sklearn_densconf.monitoring import DriftMonitor

STATE = ("n_seen_", "log_evidence_", "log_peak_", "alarm_at_", "share_")


def _fitted(n=500, seed=0, **parameters):
    scores = np.random.default_rng(seed).normal(size=n)
    return DriftMonitor(random_state=seed, **parameters).fit(scores)


def _copied(monitor):
    """Return a copy that costs little: learned arrays are replaced, never written to."""
    copied = object.__new__(DriftMonitor)
    copied.__dict__.update(monitor.__dict__)
    return copied


def _assert_same(monitor, other):
    """Compare what a user sees, to rounding."""
    for name in STATE:
        ours, theirs = getattr(monitor, name), getattr(other, name)
        assert ours == theirs or ours == pytest.approx(theirs, rel=1e-9, abs=1e-9), name


def _capital(monitor):
    return np.exp(monitor.log_evidence_)


@pytest.mark.parametrize("direction", ["fall", "rise", "both"])
def test_over_all_orders_of_the_same_scores_the_mean_capital_is_one(direction):
    """Exchangeability itself: 7! orders, the first 3 calibrate. No distribution is assumed."""
    total = 0.0
    for held_out in permutations(range(7), 3):
        monitor = DriftMonitor(direction=direction, random_state=0).fit(held_out)
        for stream in permutations({*range(7)} - {*held_out}):
            total += _capital(_copied(monitor).update(stream)) / 5040
    assert total == pytest.approx(1, abs=1e-12)


def test_with_equal_scores_the_mean_capital_is_one():
    """Of all sequences of a fair coin; the order of equal ones is drawn 30 times for each."""
    capitals = [
        _capital(DriftMonitor(random_state=seed).fit(coins[:3]).update(coins[3:]))
        for coins in product([0, 1], repeat=6)
        for seed in range(30)
    ]
    error = np.std(capitals) / np.sqrt(len(capitals))
    assert np.mean(capitals) == pytest.approx(1, abs=4 * error)
    assert error < 0.02


def test_the_capital_is_that_of_a_naive_bookkeeper():
    """One score after another, a list of all scores, and plain numbers for money."""
    random = np.random.default_rng(1)
    held_out, stream = random.normal(size=37), random.normal(size=60) - 0.5
    monitor = DriftMonitor(random_state=0).fit(held_out)
    cuts, seen = monitor._cuts.real, list(held_out)
    gaps = np.diff(np.searchsorted(np.sort(held_out), cuts), prepend=-1, append=37)
    asleep, active = 1.0, np.zeros(4)
    for t, score in enumerate(stream):
        join = asleep * (1 - (1 + np.log(1 + t)) / (1 + np.log(2 + t)))
        asleep, active = asleep - join, active + join / 4
        k = (cuts < score).sum()
        counts = gaps + np.bincount([(cuts < s).sum() for s in seen[37:]], minlength=len(gaps))
        low, high = counts[:k].sum() / (38 + t), counts[: k + 1].sum() / (38 + t)
        powers = np.array([0.2, 0.4, 0.6, 0.8])
        active = active * (high**powers - low**powers) / (high - low)
        seen.append(score)
    assert _capital(monitor.update(stream)) == pytest.approx(asleep + active.sum(), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("n", [500, 1000, 5000])
def test_quiet_streams_raise_no_more_alarms_than_stated(n):
    """1,000 streams of 10,000 scores: with the rate at 5 %, and with the default of 1 %."""
    random = np.random.default_rng(n)
    monitor = DriftMonitor(false_alarm_rate=0.05, random_state=0)
    peaks = [
        monitor.fit(random.normal(size=n)).update(random.normal(size=10_000)).log_peak_
        for _ in range(1000)
    ]
    for rate in (0.05, 0.01):
        assert np.mean(np.array(peaks) >= -np.log(rate)) <= rate


def test_of_quiet_streams_the_rate_is_kept_and_a_fixed_calibration_would_break_it():
    """100 streams. What the monitor does not do: rank each score among the held-out ones only."""
    random = np.random.default_rng(0)
    alarms = naive = 0
    for _ in range(100):
        held_out, stream = random.normal(size=500), random.normal(size=10_000)
        monitor = DriftMonitor(false_alarm_rate=0.05, random_state=0).fit(held_out)
        alarms += monitor.update(stream).alarm_
        lower = np.searchsorted(np.sort(held_out), stream)
        p = (lower + random.random(len(stream))) / 501
        gains = [np.log(e) + (e - 1) * np.log(p) for e in (0.2, 0.4, 0.6, 0.8, 0.9, 0.95)]
        best = np.logaddexp.reduce(np.cumsum(gains, axis=1)) - np.log(6)
        naive += best.max() >= np.log(20)
    assert alarms <= binom.ppf(0.999, 100, 0.05)
    assert naive > 20


@pytest.mark.parametrize(("direction", "sign"), [("fall", -1), ("rise", 1), ("both", 1)])
@pytest.mark.parametrize("n_quiet", [0, 1000, 20_000])
def test_a_drift_is_found_however_late_it_comes(direction, sign, n_quiet):
    random = np.random.default_rng(2)
    for seed in range(5):
        monitor = _fitted(seed=seed, direction=direction).update(random.normal(size=n_quiet))
        assert not monitor.alarm_
        monitor.update(random.normal(size=150) + sign)
        assert n_quiet < monitor.alarm_at_ <= n_quiet + 100


def test_what_rises_is_no_fall():
    random = np.random.default_rng(3)
    assert not _fitted().update(random.normal(size=2000) + 1).alarm_
    assert _fitted(direction="both").update(random.normal(size=2000) + 1).alarm_


def test_an_alarm_stays_and_says_when():
    monitor = _fitted().update(np.full(50, -3.0))
    at = monitor.alarm_at_
    assert 1 < at <= 20
    assert _fitted().update(np.full(at - 1, -3.0)).alarm_at_ is None
    assert _fitted().update(np.full(at, -3.0)).alarm_at_ == at
    monitor.update(np.random.default_rng(0).normal(size=5000) + 1)
    assert monitor.alarm_at_ == at
    assert monitor.log_evidence_ < 0 < np.log(100) < monitor.log_peak_
    assert monitor.p_value_ == pytest.approx(np.exp(-monitor.log_peak_))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_how_many_scores_come_at_a_time_does_not_matter(chunk):
    """Rounded scores, so that some are equal to those that are cut at."""
    random = np.random.default_rng(4)
    held_out, stream = (random.normal(size=n).round(1) for n in (300, 2000))
    stream[1500:] -= 0.4
    whole = DriftMonitor(random_state=0).fit(held_out).update(stream)
    monitor = DriftMonitor(random_state=0).fit(held_out)
    for start in range(0, len(stream), chunk):
        monitor.update(stream[start : start + chunk])
    _assert_same(monitor, whole)
    np.testing.assert_allclose(monitor.history_, whole.history_, rtol=1e-9, atol=1e-9)


def test_only_the_order_of_scores_matters():
    random = np.random.default_rng(5)
    held_out, stream = random.normal(size=300), random.normal(size=500) - 0.3
    monitor = DriftMonitor(random_state=0).fit(held_out).update(stream)
    cubed = DriftMonitor(random_state=0).fit(held_out**3 * 1e30).update(stream**3 * 1e30)
    shuffled = DriftMonitor(random_state=0).fit(random.permutation(held_out)).update(stream)
    assert monitor.log_evidence_ == cubed.log_evidence_ == shuffled.log_evidence_


@pytest.mark.parametrize("held_out", [np.ones(200), np.r_[np.ones(150), np.zeros(50)], [0.5]])
def test_saturated_confidences_are_fine(held_out):
    random = np.random.default_rng(6)
    monitor = DriftMonitor(random_state=0).fit(held_out)
    monitor.update(random.choice(held_out, 3000))
    assert not monitor.alarm_
    if len(held_out) > 1:
        assert monitor.update(np.full(100, -np.inf)).alarm_


def test_the_order_of_merging_does_not_matter():
    """Rounded scores: which of the equal ones is lower is drawn again after merging."""

    def parts():
        random = np.random.default_rng(7)
        split = _fitted(n=300).update(random.normal(size=100)).split(4)
        assert [part.share_ for part in split] == [0.25] * 4
        return [
            part.update(random.normal(size=n).round(1))
            for part, n in zip(split, (9, 1, 70, 0), strict=True)
        ]

    a, b, c, d = parts()
    forward = a.merge(b).merge(c).merge(d).update(np.linspace(-1, 0, 30).round(1))
    a, b, c, d = parts()
    backward = d.merge(c.merge(b)).merge(a).update(np.linspace(-1, 0, 30).round(1))
    _assert_same(forward, backward)
    assert forward.n_seen_ == 100 + 80 + 30
    assert forward.share_ == 1
    assert len(forward.split(2)) == 2


def test_to_split_and_to_merge_adds_and_loses_nothing():
    monitor = _fitted().update([-1.0, 0.3, -2.0])
    first, second, third = monitor.split(3)
    merged = third.merge(first).merge(second)
    _assert_same(merged, monitor)
    np.testing.assert_array_equal(merged._counts, monitor._counts)


def test_over_all_orders_parts_and_what_they_become_have_a_mean_capital_of_one():
    """Streams of two scores and of one, merged, and two scores more: 7! orders, 2 calibrate."""
    total = 0.0
    for held_out in permutations(range(7), 2):
        first, second = DriftMonitor(random_state=0).fit(held_out).split(2)
        for stream in permutations({*range(7)} - {*held_out}):
            part = _copied(first).update(stream[:2]).merge(_copied(second).update(stream[2]))
            total += _capital(part.update(stream[3:])) / 5040
    assert total == pytest.approx(1, abs=1e-12)


def test_parts_together_raise_no_more_false_alarms_than_one():
    random = np.random.default_rng(8)
    alarms = 0
    for seed in range(200):
        parts = _fitted(seed=seed, false_alarm_rate=0.1).split(5)
        alarms += any(part.update(random.normal(size=500)).alarm_ for part in parts)
    assert alarms <= binom.ppf(0.999, 200, 0.1)


def test_an_alarm_of_one_part_is_an_alarm_of_all():
    quiet, loud = _fitted().split(2)
    merged = quiet.update(np.zeros(400)).merge(loud.update(np.full(50, -3.0)))
    assert merged.alarm_at_ == loud.alarm_at_
    assert merged.log_peak_ >= loud.log_peak_


def test_monitors_that_are_no_parts_of_one_are_not_merged():
    with pytest.raises(ValueError, match="merge needs parts from one split, got monitors"):
        _fitted(seed=0).merge(_fitted(seed=1))
    monitor = _fitted()
    with pytest.raises(ValueError, match=r"got both with \[0\]: split one for every stream"):
        monitor.merge(_copied(monitor))
    part = monitor.split(2)[0]
    with pytest.raises(ValueError, match=r"split needs a whole monitor, got parts \[0\] of 2"):
        part.split(2)
    with pytest.raises(ValueError, match="n == 0, must be >= 1"):
        monitor.split(0)


@pytest.mark.parametrize("way", ["joblib", "json"])
def test_a_kept_monitor_goes_on_as_if_it_had_not_been_away(way, tmp_path):
    random = np.random.default_rng(9)
    held_out = np.r_[random.normal(size=300).round(1), -np.inf, np.inf]
    monitor = DriftMonitor(random_state=3, direction="both").fit(held_out)
    for _ in range(3):
        if way == "json":
            kept = DriftMonitor.from_json(json.dumps(json.loads(monitor.to_json())))
        else:
            joblib.dump(monitor, tmp_path / "monitor")
            kept = joblib.load(tmp_path / "monitor")
        more = random.normal(size=700).round(1) - 0.1
        monitor.update(more), kept.update(more)
        assert kept.get_params() == monitor.get_params()
        assert [getattr(kept, name) for name in STATE] == [getattr(monitor, n) for n in STATE]
        np.testing.assert_array_equal(kept.history_, monitor.history_)


def test_the_state_is_some_kilobytes_however_long_the_stream(tmp_path):
    monitor = _fitted(n=100_000, direction="both")
    for _ in range(10):
        monitor.update(np.random.default_rng(0).normal(size=100_000))
    assert len(monitor.to_json()) < 12_000
    joblib.dump(monitor, tmp_path / "monitor")
    assert (tmp_path / "monitor").stat().st_size < 12_000
    assert len(monitor.history_) <= 256
    assert monitor.history_.max() == pytest.approx(max(monitor.log_peak_, -99), abs=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "text must be JSON from to_json, got Expecting value"),
        ("[1]", "got JSON of something else"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "got 2, of a newer"),
        (lambda text: text.replace('"_counts"', '"_count"'), "damaged monitor .KeyError"),
        (lambda text: text.replace('"_base": [', '"_base": ["x", '), "damaged monitor"),
    ],
)
def test_other_texts_are_refused(text, message):
    if callable(text):
        text = text(_fitted().to_json())
    with pytest.raises(ValueError, match=message):
        DriftMonitor.from_json(text)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1, np.nan], "scores must be numbers, got NaN at 1"),
        ([[0.1, 0.2]], r"one number per picture, got an array of shape \(1, 2\)"),
        (["high"], "one number per picture"),
        ([], "scores is empty: fit to the scores of held-out pictures"),
    ],
)
def test_what_cannot_be_ordered_is_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        DriftMonitor().fit(scores)


def test_a_refused_update_has_seen_nothing():
    monitor = _fitted()
    with pytest.raises(ValueError, match="got NaN at 5000"):
        monitor.update(np.r_[np.zeros(5000), np.nan])
    assert monitor.n_seen_ == 0
    assert monitor.update([]).n_seen_ == 0
    assert monitor.update(0.5).n_seen_ == 1


def test_wrong_parameters_and_monitors_that_are_not_fitted():
    with pytest.raises(ValueError, match=r"false_alarm_rate must be a float in \(0, 1\), got 1"):
        DriftMonitor(false_alarm_rate=1).fit([0.0])
    with pytest.raises(ValueError, match="direction must be one of"):
        DriftMonitor(direction="down").fit([0.0])
    for call in (lambda m: m.update([0.0]), lambda m: m.split(2), lambda m: m.to_json()):
        with pytest.raises(NotFittedError):
            call(clone(_fitted()))


def test_the_display_draws_the_evidence_the_threshold_and_the_alarm():
    random = np.random.default_rng(10)
    monitor = _fitted().update(random.normal(size=1000)).update(random.normal(size=100) - 1)
    display = DriftDisplay.from_monitor(monitor, name="camera 1")
    assert display.line_.get_ydata().max() == pytest.approx(monitor.log_peak_ / np.log(10))
    assert display.line_.get_xdata()[-1] == 1100
    assert display.threshold == pytest.approx(2)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    expected = f"alarm after {monitor.alarm_at_:,} pictures"
    assert labels == ["camera 1", "threshold of the alarm", expected]
    plt.close("all")


@pytest.mark.slow
def test_noise_on_real_pictures_is_found_within_100(imagenet_folder, imagenet_net):
    """MobileNetV2: 250 held-out pictures calibrate; 100 quiet ones come, then σ = 30 of 255."""
    train, held_out = (load_imagenet(imagenet_folder, split=split) for split in ("train", "val"))
    network = imagenet_net.mobilenet_v2(np.unique(train.y).tolist())
    extractor = FeatureExtractor(network, preprocessing=imagenet_net.preprocess, num_workers=2)
    density = GaussianDensityClassifier("tied_diag")
    density.fit(extractor.fit_transform(train.paths[::6]), train.y[::6])
    paths = np.random.default_rng(0).permutation(held_out.paths)[:450].tolist()
    Z, Z_noisy = extractor.transform(paths[:350]), extractor.transform(_noisy(paths[350:]))
    for score in (density.score_samples, lambda Z: density.predict_proba(Z).max(axis=1)):
        monitor = DriftMonitor(random_state=0).fit(score(Z[:250])).update(score(Z[250:]))
        assert not monitor.alarm_
        assert 100 < monitor.update(score(Z_noisy)).alarm_at_ <= 200


def _noisy(paths):
    pixels = (np.asarray(Image.open(path).convert("RGB")) for path in paths)
    return [Image.fromarray(gaussian_noise(p, 30, random_state=0, channel_axis=-1)) for p in pixels]
