"""Every loss against its formula: values, slopes, the best discriminator, and what an honest game rewards."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from scipy.spatial.distance import jensenshannon
from scipy.special import expit
from scipy.stats import norm

from gan_audio_tut import losses

NAMES = ["minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"]
LOG2 = np.log(2)


def total(terms):
    return sum(terms.values())


def slopes(f, *inputs):
    "The gradient of f's summed terms by each input."
    inputs = [tf.convert_to_tensor(x, tf.float32) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        out = total(f(*inputs))
    return [
        np.zeros(x.shape) if g is None else g.numpy()
        for x, g in zip(inputs, tape.gradient(out, inputs))
    ]


def test_all_six_are_pairs_of_functions_that_name_their_terms():
    for name in NAMES:
        loss = getattr(losses, name)
        assert isinstance(loss, losses.GANLoss)
        for prefix, f in (("d_", loss.d_loss), ("g_", loss.g_loss)):
            terms = f(tf.zeros(4), tf.ones(4))
            assert terms and all(k.startswith(prefix) and v.shape == () for k, v in terms.items())


@pytest.mark.parametrize(
    "name, d, g",
    [
        ("minimax", {"d_real": LOG2, "d_fake": LOG2}, {"g_fake": -LOG2}),
        ("non_saturating", {"d_real": LOG2, "d_fake": LOG2}, {"g_fake": LOG2}),
        ("least_squares", {"d_real": 1, "d_fake": 0}, {"g_fake": 1}),
        ("hinge", {"d_real": 1, "d_fake": 1}, {"g_fake": 0}),
        ("wasserstein", {"d_real": 0, "d_fake": 0}, {"g_fake": 0}),
        ("relativistic", {"d_pair": LOG2}, {"g_pair": LOG2}),
    ],
)
def test_values_at_logits_zero(name, d, g):
    loss, zeros = getattr(losses, name), tf.zeros([5, 1])
    for f, known in ((loss.d_loss, d), (loss.g_loss, g)):
        assert {k: float(v) for k, v in f(zeros, zeros).items()} == pytest.approx(known, abs=1e-7)


@pytest.mark.parametrize("r", [-40, -3, -0.5, 0.5, 3, 40])
@pytest.mark.parametrize("f", [-40, -3, -0.5, 0.5, 3, 40])
def test_slopes_are_the_formulas(r, f):
    known = {  # of D by (real, fake), of G by fake
        "minimax": (expit(r) - 1, expit(f), -expit(f)),
        "non_saturating": (expit(r) - 1, expit(f), expit(f) - 1),
        "least_squares": (2 * (r - 1), 2 * f, 2 * (f - 1)),
        "hinge": (-float(r < 1), float(f > -1), -1),
        "wasserstein": (-1, 1, -1),
        "relativistic": (-expit(f - r), expit(f - r), -expit(r - f)),
    }
    for name, (d_real, d_fake, g_fake) in known.items():
        loss = getattr(losses, name)
        by_real, by_fake = slopes(loss.d_loss, [float(r)], [float(f)])
        assert by_real[0] == pytest.approx(d_real, abs=1e-6) and by_fake[0] == pytest.approx(
            d_fake, abs=1e-6
        )
        assert slopes(loss.g_loss, [float(r)], [float(f)])[1][0] == pytest.approx(g_fake, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_finite_at_logits_of_forty(name):
    loss = getattr(losses, name)
    for r in (-40.0, 40.0):
        for f in (-40.0, 40.0):
            for side in loss:
                assert np.isfinite(
                    [
                        total(side(tf.constant([r]), tf.constant([f]))),
                        *np.ravel(slopes(side, [r], [f])),
                    ]
                ).all()


def test_the_mean_is_over_examples():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 64, 1)).astype("float32")
    for name in NAMES:
        for side in getattr(losses, name):
            one_by_one = np.mean([total(side(r[None], f[None])) for r, f in zip(real, fake)])
            assert float(total(side(real, fake))) == pytest.approx(one_by_one, abs=1e-5)


def test_against_keras():
    rng = np.random.default_rng(1)
    real, fake = rng.normal(0, 4, (2, 32)).astype("float32")
    bce, hinge = keras.losses.BinaryCrossentropy(from_logits=True), keras.losses.Hinge()
    d = losses.minimax.d_loss(real, fake)
    assert float(d["d_real"]) == pytest.approx(float(bce(np.ones(32), real)), abs=1e-6)
    assert float(d["d_fake"]) == pytest.approx(float(bce(np.zeros(32), fake)), abs=1e-6)
    assert float(total(losses.non_saturating.g_loss(real, fake))) == pytest.approx(
        float(bce(np.ones(32), fake)), abs=1e-6
    )
    d = losses.hinge.d_loss(real, fake)
    assert float(d["d_real"]) == pytest.approx(float(hinge(np.ones(32), real)), abs=1e-6)
    assert float(d["d_fake"]) == pytest.approx(float(hinge(-np.ones(32), fake)), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_flattery_does_not_pay(name):
    "A discriminator that calls everything real must lose to one that listens; a generator must gain by being believed."
    loss, yes, no = getattr(losses, name), tf.ones(8), -tf.ones(8)
    honest, flatterer, fooled = (
        float(total(loss.d_loss(*a))) for a in ((yes, no), (yes, yes), (no, yes))
    )
    if name == "least_squares":
        honest = float(total(loss.d_loss(yes, 0 * no)))  # its "fake" is 0
    assert honest < flatterer < fooled
    assert float(total(loss.g_loss(yes, yes))) < float(total(loss.g_loss(yes, no)))


def test_the_articles_sign_rewards_flattery():
    "-E log D(x) + E log(1 - D(G(z))): one constant logit c costs exactly -c, without a lowest point."
    for c in (-3.0, 0.0, 3.0, 30.0):
        terms = losses.minimax.d_loss(tf.constant([c]), tf.constant([c]))
        assert float(terms["d_real"] - terms["d_fake"]) == pytest.approx(-c, abs=1e-6)
        assert float(total(terms)) >= 2 * LOG2 - 1e-6


def test_relativistic_sees_only_differences_and_refuses_to_broadcast():
    a, b = tf.random.normal([16], seed=1), tf.random.normal([16], seed=2)
    for side in losses.relativistic:
        assert float(total(side(a + 7, b + 7))) == pytest.approx(float(total(side(a, b))), abs=1e-5)
        with pytest.raises(ValueError, match=r"\(16, 1\) and \(16,\)"):
            side(a[:, None], b)


PITCHES = np.linspace(-5, 3, 33)
P, Q = (d / d.sum() for d in (norm.pdf(PITCHES), norm.pdf(PITCHES, -2)))


def over_all_pairs(d_loss, logits):
    "D's loss where reals fall on the grid with weights P and fakes with weights Q."
    real, fake = (tf.reshape(v, [-1, 1]) for v in tf.meshgrid(logits, logits, indexing="ij"))
    each = tf.vectorized_map(lambda pair: total(d_loss(*pair)), (real, fake))
    return tf.reduce_sum(tf.reshape(tf.constant(P[:, None] * Q[None], tf.float32), [-1]) * each)


@pytest.mark.parametrize(
    "name, best",
    [
        ("minimax", np.log(P / Q)),
        ("least_squares", P / (P + Q)),
        ("hinge", np.sign(P - Q)),
        ("relativistic", np.log(P / Q)),
    ],
)
def test_the_best_discriminator(name, best):
    "Flat there, and every step away costs; the losses are convex, so that is the minimum."
    d_loss, rng = getattr(losses, name).d_loss, np.random.default_rng(0)
    logits = tf.constant(best, tf.float32)
    lowest, at_best = (
        float(over_all_pairs(d_loss, logits)),
        slopes(lambda v: {"": over_all_pairs(d_loss, v)}, logits)[0],
    )
    if name != "hinge":
        assert np.abs(at_best).max() < 1e-6  # hinge has a kink there
    for _ in range(20):
        assert (
            float(over_all_pairs(d_loss, logits + rng.normal(0, 0.1, 33).astype("float32")))
            > lowest
        )


@pytest.mark.parametrize("mu", [0.0, -0.5, -2.0, -6.0])
def test_the_value_at_the_best_discriminator_is_the_jsd(mu):
    x = np.linspace(-25, 15, 8001)
    p, q = (d / d.sum() for d in (norm.pdf(x), norm.pdf(x, mu)))
    logit = tf.constant(norm.logpdf(x) - norm.logpdf(x, mu), tf.float32)
    terms = tf.vectorized_map(lambda v: losses.minimax.d_loss(v[None], v[None]), logit)
    V = -(p * terms["d_real"].numpy() + q * terms["d_fake"].numpy()).sum()
    assert V == pytest.approx(-np.log(4) + 2 * jensenshannon(p, q) ** 2, abs=1e-6)
    if mu == -6:
        assert V == pytest.approx(0, abs=0.02)  # hardly any overlap: JSD = log 2


SPREAD = tf.constant(norm.ppf((np.arange(2001) + 0.5) / 2001), tf.float32)


def pull(name, mu_g):
    "Minus the slope of G's loss by the fakes' mean, before the best D between N(0, 1) and N(mu_g, 1)."
    mu, logit = tf.constant(mu_g), lambda x: (x - mu_g) ** 2 / 2 - x**2 / 2
    return -slopes(lambda m: getattr(losses, name).g_loss(logit(SPREAD), logit(m + SPREAD)), mu)[0]


def test_the_generator_descends_what_theory_says():
    "Minimax 2 JSD; non-saturating KL(q, p) - 2 JSD (Arjovsky and Bottou 2017, theorem 2.5)."
    x, dx = np.linspace(-20, 15, 14001, retstep=True)

    def jsd(mu):
        p, q = norm.pdf(x), norm.pdf(x, mu)
        m = (p + q) / 2
        return dx * np.sum(p * np.log(p / m) + q * np.log(q / m)) / 2

    for mu in (-0.5, -1.5, -3.0):
        two_jsd = (jsd(mu + 1e-3) - jsd(mu - 1e-3)) / 1e-3
        assert pull("minimax", mu) == pytest.approx(-two_jsd, abs=2e-3)
        assert pull("non_saturating", mu) == pytest.approx(-(mu - two_jsd), abs=2e-3)


def test_the_pull_vanishes_where_d_is_sure_and_the_cure_does_not():
    assert 0 < pull("minimax", -12.0) < 1e-12
    assert pull("non_saturating", -12.0) == pytest.approx(12, rel=1e-4)
    assert pull("relativistic", -12.0) == pytest.approx(12, rel=1e-2)


def gradient_of(critic, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = critic(x)
    return tape.gradient(logits, x)


@pytest.mark.parametrize("shape", [(), (7,), (8, 8), (4, 3, 2)])
@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
def test_penalties_of_a_linear_critic(shape, length):
    "|w| = 1: no one-centred penalty; R1 = |w|^2 / 2; whatever the shape of an example."
    w = np.random.default_rng(0).normal(size=shape)
    w = tf.constant(length * w / np.linalg.norm(np.ravel(w)), tf.float32)
    g = gradient_of(
        lambda x: tf.reduce_sum(w * x, axis=list(range(1, x.shape.rank))),
        tf.random.normal([5, *shape], seed=0),
    )
    assert float(losses.gradient_penalty(g)) == pytest.approx((length - 1) ** 2, abs=1e-5)
    assert float(losses.r1_penalty(g)) == pytest.approx(length**2 / 2, rel=1e-5)


def test_penalties_count_a_list_as_one_long_vector():
    a, b = tf.random.normal([6, 4], seed=1), tf.random.normal([6, 3, 2], seed=2)
    whole = tf.concat([a, tf.reshape(b, [6, -1])], 1)
    for f in (losses.r1_penalty, losses.gradient_penalty):
        assert float(f([a, b])) == pytest.approx(float(f(whole)), rel=1e-6)
        assert float(f([a])) == float(f(a))


def test_penalties_average_over_examples_not_before():
    g = tf.constant([[0.6, 0.8], [-0.6, -0.8]])  # two unit slopes that cancel in the mean
    assert float(losses.gradient_penalty(g)) == pytest.approx(0, abs=1e-10)
    assert float(losses.r1_penalty(g)) == pytest.approx(0.5)


def test_one_centred_has_a_finite_gradient_at_zero_slope():
    g = tf.zeros([3, 5])
    assert (gradient_of(losses.gradient_penalty, g).numpy() == 0).all()
    tiny = gradient_of(losses.gradient_penalty, g + 1e-8).numpy()
    assert np.isfinite(tiny).all() and np.abs(tiny).max() < 1


def test_feature_matching():
    a, b = tf.random.normal([2, 8], seed=1), tf.random.normal([2, 4, 4], seed=2)
    assert float(losses.feature_matching([a, b], [a, b])) == 0
    assert float(losses.feature_matching([a, b], [a + 1, b - 3])) == pytest.approx(2, rel=1e-6)
    by_real, by_fake = slopes(lambda r, f: {"": losses.feature_matching([r], [f])}, a, a + 1)
    assert (by_real == 0).all() and by_fake == pytest.approx(np.full((2, 8), 1 / 16))
    with pytest.raises(ValueError):
        losses.feature_matching([a, b], [a])
    with pytest.raises(ValueError, match="no features"):
        losses.feature_matching([], [])


def test_losses_need_nothing_but_keras_ops():
    imports = [
        n
        for n in ast.walk(ast.parse(Path(losses.__file__).read_text()))
        if isinstance(n, (ast.Import, ast.ImportFrom))
    ]
    assert {n.module for n in imports} == {"collections.abc", "typing", "keras"}
    assert [a.name for n in imports if n.module == "keras" for a in n.names] == ["ops"]


NUMBERS = """
import sys, numpy as np
from gan_audio_tut import losses
rng = np.random.default_rng(3)
a, b, g = (rng.normal(size=s).astype("float32") for s in ((8, 1), (8, 1), (8, 4, 4)))
print(*(float(v) for name in sys.argv[1:] for f in getattr(losses, name) for v in f(a, b).values()))
print(float(losses.zero_centred([g])), float(losses.one_centred(g)), float(losses.feature_matching([a, g], [b, 2 * g])))
"""


def test_another_keras_backend_gives_the_same_numbers():
    if not importlib.util.find_spec("jax"):
        pytest.skip("needs jax")

    def numbers(backend):
        done = subprocess.run(
            [sys.executable, "-c", NUMBERS, *NAMES],
            env=os.environ | {"KERAS_BACKEND": backend},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return [float(v) for v in done.stdout.split()]

    with_jax, with_tf = numbers("jax"), numbers("tensorflow")
    assert len(with_jax) == 20 and with_jax == pytest.approx(with_tf, abs=1e-5)
