"""Every loss against its formula: values, slopes, the optimal discriminator, what it rewards."""

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
from gan_audio_tut.audio import InputError

NAMES = ["minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"]
LOG2 = np.log(2)


def functions(name):
    "The two losses of a pair."
    loss = getattr(losses, name)
    return loss.d_loss, loss.g_loss


def total(terms):
    return sum(terms.values())


def slopes(fn, *inputs):
    "The gradient of fn's summed terms by each input."
    inputs = [tf.convert_to_tensor(x, tf.float32) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        out = total(fn(*inputs))
    gradients = tape.gradient(out, inputs, unconnected_gradients="zero")
    return [gradient.numpy() for gradient in gradients]


def test_all_six_are_pairs_of_functions_that_name_their_terms():
    for name in NAMES:
        assert isinstance(getattr(losses, name), losses.GANLoss)
        for prefix, fn in zip(("d_", "g_"), functions(name), strict=True):
            terms = fn(tf.zeros(4), tf.ones(4))
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
    for fn, expected in ((loss.d_loss, d), (loss.g_loss, g)):
        terms = {k: float(v) for k, v in fn(zeros, zeros).items()}
        assert terms == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("r", [-40, -3, -0.5, 0.5, 3, 40])
@pytest.mark.parametrize("f", [-40, -3, -0.5, 0.5, 3, 40])
def test_slopes_are_the_formulas(r, f):
    formulas = {  # of D by (real, fake), of G by fake
        "minimax": (expit(r) - 1, expit(f), -expit(f)),
        "non_saturating": (expit(r) - 1, expit(f), expit(f) - 1),
        "least_squares": (2 * (r - 1), 2 * f, 2 * (f - 1)),
        "hinge": (-float(r < 1), float(f > -1), -1),
        "wasserstein": (-1, 1, -1),
        "relativistic": (-expit(f - r), expit(f - r), -expit(r - f)),
    }
    for name, (d_real, d_fake, g_fake) in formulas.items():
        loss = getattr(losses, name)
        by_real, by_fake = slopes(loss.d_loss, [float(r)], [float(f)])
        assert by_real[0] == pytest.approx(d_real, abs=1e-6)
        assert by_fake[0] == pytest.approx(d_fake, abs=1e-6)
        _, by_fake = slopes(loss.g_loss, [float(r)], [float(f)])
        assert by_fake[0] == pytest.approx(g_fake, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", [-40.0, 40.0])
@pytest.mark.parametrize("f", [-40.0, 40.0])
def test_finite_at_logits_of_forty(name, r, f):
    for fn in functions(name):
        assert np.isfinite(total(fn(tf.constant([r]), tf.constant([f]))))
        assert np.isfinite(slopes(fn, [r], [f])).all()


def test_the_mean_is_over_examples():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 64, 1)).astype("float32")
    for name in NAMES:
        for fn in functions(name):
            pairs = zip(real, fake, strict=True)
            one_by_one = np.mean([total(fn(r[None], f[None])) for r, f in pairs])
            assert float(total(fn(real, fake))) == pytest.approx(one_by_one, abs=1e-5)


def test_against_keras():
    rng = np.random.default_rng(1)
    real, fake = rng.normal(0, 4, (2, 32)).astype("float32")
    ones, zeros = np.ones(32), np.zeros(32)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    hinge = keras.losses.Hinge()

    d = losses.minimax.d_loss(real, fake)
    assert float(d["d_real"]) == pytest.approx(float(cross_entropy(ones, real)), abs=1e-6)
    assert float(d["d_fake"]) == pytest.approx(float(cross_entropy(zeros, fake)), abs=1e-6)
    g = float(total(losses.non_saturating.g_loss(real, fake)))
    assert g == pytest.approx(float(cross_entropy(ones, fake)), abs=1e-6)
    d = losses.hinge.d_loss(real, fake)
    assert float(d["d_real"]) == pytest.approx(float(hinge(ones, real)), abs=1e-6)
    assert float(d["d_fake"]) == pytest.approx(float(hinge(-ones, fake)), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_calling_everything_real_does_not_pay(name):
    "Such a discriminator must lose to a correct one; a generator must gain by being believed."
    loss = getattr(losses, name)
    yes, no = tf.ones(8), -tf.ones(8)
    says_fake = 0 * no if name == "least_squares" else no  # its "fake" is 0
    correct = float(total(loss.d_loss(yes, says_fake)))
    all_real = float(total(loss.d_loss(yes, yes)))
    inverted = float(total(loss.d_loss(no, yes)))
    assert correct < all_real < inverted
    assert float(total(loss.g_loss(yes, yes))) < float(total(loss.g_loss(yes, no)))


def test_the_sign_as_printed_rewards_calling_everything_real():
    "-E log D(x) + E log(1 - D(G(z))): a constant logit c costs exactly -c, without a minimum."
    for c in (-3.0, 0.0, 3.0, 30.0):
        terms = losses.minimax.d_loss(tf.constant([c]), tf.constant([c]))
        assert float(terms["d_real"] - terms["d_fake"]) == pytest.approx(-c, abs=1e-6)
        assert float(total(terms)) >= 2 * LOG2 - 1e-6


def test_relativistic_sees_only_differences_and_refuses_to_broadcast():
    a, b = tf.random.normal([16], seed=1), tf.random.normal([16], seed=2)
    for fn in functions("relativistic"):
        assert float(total(fn(a + 7, b + 7))) == pytest.approx(float(total(fn(a, b))), abs=1e-5)
        message = r"^relativistic: [^\n]*\(16, 1\) and \(16,\); give both the same$"
        with pytest.raises(InputError, match=message):
            fn(a[:, None], b)


def test_relativistic_accepts_unknown_batch_sizes_in_a_graph():
    spec = tf.TensorSpec([None, 1])
    graph = tf.function(
        lambda r, f: losses.relativistic.d_loss(r, f)["d_pair"], input_signature=[spec, spec]
    )
    assert float(graph(tf.zeros([4, 1]), tf.zeros([4, 1]))) == pytest.approx(LOG2)


PITCHES = np.linspace(-5, 3, 33)
P, Q = (d / d.sum() for d in (norm.pdf(PITCHES), norm.pdf(PITCHES, -2)))


def over_all_pairs(d_loss, logits):
    "D's loss where reals fall on the grid with weights P and fakes with weights Q."
    real, fake = (tf.reshape(v, [-1, 1]) for v in tf.meshgrid(logits, logits, indexing="ij"))
    pair_losses = tf.vectorized_map(lambda pair: total(d_loss(*pair)), (real, fake))
    weights = tf.constant(P[:, None] * Q[None], tf.float32)
    return tf.reduce_sum(tf.reshape(weights, [-1]) * pair_losses)


@pytest.mark.parametrize(
    "name, optimal",
    [
        ("minimax", np.log(P / Q)),
        ("least_squares", P / (P + Q)),
        ("hinge", np.sign(P - Q)),
        ("relativistic", np.log(P / Q)),
    ],
)
def test_the_optimal_discriminator(name, optimal):
    "Flat there, and every step away costs; the losses are convex, so that is the minimum."
    d_loss = getattr(losses, name).d_loss
    rng = np.random.default_rng(0)
    expected_loss = tf.function(lambda logits: over_all_pairs(d_loss, logits))
    logits = tf.constant(optimal, tf.float32)
    lowest = float(expected_loss(logits))
    if name != "hinge":  # it has a kink there
        gradient = slopes(lambda v: {"": expected_loss(v)}, logits)[0]
        assert np.abs(gradient).max() < 1e-6
    for _ in range(20):
        assert float(expected_loss(logits + rng.normal(0, 0.1, 33).astype("float32"))) > lowest


@pytest.mark.parametrize("mu", [0.0, -0.5, -2.0, -6.0])
def test_the_value_at_the_optimal_discriminator_is_the_jsd(mu):
    x = np.linspace(-25, 15, 8001)
    p, q = (density / density.sum() for density in (norm.pdf(x), norm.pdf(x, mu)))
    logit = tf.constant(norm.logpdf(x) - norm.logpdf(x, mu), tf.float32)
    terms = tf.vectorized_map(lambda v: losses.minimax.d_loss(v[None], v[None]), logit)
    value = -(p * terms["d_real"].numpy() + q * terms["d_fake"].numpy()).sum()
    assert value == pytest.approx(-np.log(4) + 2 * jensenshannon(p, q) ** 2, abs=1e-6)
    if mu == -6:  # hardly any overlap: JSD = log 2
        assert value == pytest.approx(0, abs=0.02)


STANDARD_NORMAL = tf.constant(norm.ppf((np.arange(2001) + 0.5) / 2001), tf.float32)


def pull(name, mu_g):
    "Minus the slope of G's loss by the fakes' mean, for the optimal D of N(0, 1) and N(mu_g, 1)."
    g_loss = getattr(losses, name).g_loss

    def logit(x):
        return (x - mu_g) ** 2 / 2 - x**2 / 2

    real = logit(STANDARD_NORMAL)
    return -slopes(lambda mu: g_loss(real, logit(mu + STANDARD_NORMAL)), tf.constant(mu_g))[0]


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


def test_minimax_vanishes_where_d_is_certain_and_the_others_do_not():
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
    "|w| = 1: no one-centred penalty; R1 = R2 = |w|^2 / 2; whatever the shape of an example."
    w = np.random.default_rng(0).normal(size=shape)
    w = tf.constant(length * w / np.linalg.norm(np.ravel(w)), tf.float32)
    g = gradient_of(
        lambda x: tf.reduce_sum(w * x, axis=list(range(1, x.shape.rank))),
        tf.random.normal([5, *shape], seed=0),
    )
    assert float(losses.gradient_penalty(g)) == pytest.approx((length - 1) ** 2, abs=1e-5)
    assert float(losses.r1_penalty(g)) == pytest.approx(length**2 / 2, rel=1e-5)
    assert float(losses.r2_penalty(g)) == float(losses.r1_penalty(g))


def test_penalties_count_a_list_as_one_long_vector():
    a, b = tf.random.normal([6, 4], seed=1), tf.random.normal([6, 3, 2], seed=2)
    whole = tf.concat([a, tf.reshape(b, [6, -1])], 1)
    for penalty in (losses.r1_penalty, losses.r2_penalty, losses.gradient_penalty):
        assert float(penalty([a, b])) == pytest.approx(float(penalty(whole)), rel=1e-6)
        assert float(penalty([a])) == float(penalty(a))


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


def test_feature_matching_of_no_or_unequal_features_is_refused_in_one_line():
    a = tf.zeros([2, 8])
    with pytest.raises(InputError, match=r"^feature_matching: 2 layers of real and 1 [^\n]*; give"):
        losses.feature_matching([a, a], [a])
    with pytest.raises(InputError, match=r"^feature_matching: [^\n]*no features; let it return"):
        losses.feature_matching([], [])


def test_feature_matching_averages_over_layers_of_any_size():
    small, large = tf.zeros([2, 3]), tf.zeros([2, 50, 7])
    loss = losses.feature_matching([small, large], [small + 1, large + 5])
    assert float(loss) == pytest.approx((1 + 5) / 2)


def test_feature_matching_names_both_sources():
    "Salimans et al. introduced it; the paired L1 form is Kumar et al.'s."
    text = losses.feature_matching.__doc__
    assert "Salimans et al" in text and "3.1" in text and "Kumar et al" in text and "2.3" in text


def test_losses_need_nothing_but_keras_ops():
    tree = ast.parse(Path(losses.__file__).read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    # audio for InputError
    assert {n.module for n in imports} == {"collections.abc", "typing", "keras", "audio"}
    assert [a.name for n in imports if n.module == "audio" for a in n.names] == ["InputError"]
    assert [a.name for n in imports if n.module == "keras" for a in n.names] == ["ops"]


NUMBERS = """
import sys, numpy as np
from gan_audio_tut import losses
rng = np.random.default_rng(3)
a, b, g = (rng.normal(size=s).astype("float32") for s in ((8, 1), (8, 1), (8, 4, 4)))
for name in sys.argv[1:]:
    for fn in functions(name):
        print(*(float(v) for v in fn(a, b).values()))
print(float(losses.r1_penalty([g])), float(losses.gradient_penalty(g)))
print(float(losses.feature_matching([a, g], [b, 2 * g])))
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
