"""Plots and players: units on every axis, known levels at known places, pages that need no file."""

import base64
import inspect
import io
import itertools
import re

import matplotlib as mpl
import numpy as np
import pytest
import soundfile as sf

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from gan_audio_tut import audio, audio_io, plots

SOUND = audio.tone(1000, 1, 8000)
LOG_MEL = np.linspace(-1, 1, 40 * 64).reshape(40, 64)
HISTORY = [{"step": k, "d_loss": 1.0 * k, "g_loss": -1.0 * k} for k in range(10)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- axes


@pytest.mark.parametrize(
    "ax, xlabel, ylabel",
    [
        (lambda: plots.waveshow(SOUND, 8000), "time (s)", "amplitude"),
        (lambda: plots.spectrogram(SOUND, 8000), "time (s)", "frequency (kHz)"),
        (lambda: plots.mel_spectrogram(LOG_MEL), "time (frames)", "mel band"),
        (
            lambda: plots.mel_spectrogram(LOG_MEL, sr=8000, hop_length=128),
            "time (s)",
            "mel band",
        ),
        (lambda: plots.plot_history(HISTORY, ["d_loss"]), "step", "d_loss"),
        (lambda: plots.plot_history(HISTORY, ["d_loss", "g_loss"]), "step", "value"),
        (lambda: plots.plot_history(HISTORY, ["d_loss"], ylabel="loss"), "step", "loss"),
    ],
)
def test_both_axes_are_labelled(ax, xlabel, ylabel):
    ax = ax()
    assert (ax.get_xlabel(), ax.get_ylabel()) == (xlabel, ylabel)


def test_colour_bars_say_what_colours_mean():
    fig = plots.spectrogram(SOUND, 8000, min_db=-60).figure
    assert fig.axes[1].get_ylabel() == "level (dB)"
    assert fig.axes[1].get_ylim() == (-60, 0)
    fig = plots.mel_spectrogram(LOG_MEL).figure
    assert fig.axes[1].get_ylim() == (-1, 1)
    assert len(plots.spectrogram(SOUND, 8000, colorbar=False).figure.axes) == 1
    assert len(plots.mel_spectrogram(LOG_MEL, colorbar=False).figure.axes) == 1


def test_a_colour_bar_beside_given_axes():
    fig = Figure(layout="constrained")
    axes = fig.subplots(1, 2)
    for ax in axes:
        assert plots.spectrogram(SOUND, 8000, ax=ax) is ax
    assert len(fig.axes) == 4
    fig.savefig(io.BytesIO())


def test_mel_spectrogram_puts_frames_where_they_are():
    ax = plots.mel_spectrogram(LOG_MEL, sr=8000, hop_length=128)
    left, right, bottom, top = ax.images[0].get_extent()
    assert np.allclose([left, right], [-0.008, 39.5 * 0.016])  # frame k is centred on k hops
    assert (bottom, top) == (-0.5, 63.5)
    assert np.array_equal(ax.images[0].get_array(), LOG_MEL.T)


@pytest.mark.parametrize("n_fft", [256, 512, 1024])
@pytest.mark.parametrize("amplitude", [0.01, 0.5, 1.0])
def test_a_tone_has_its_level_at_its_place(n_fft, amplitude):
    tone = audio.tone(1000, 1, 8000, amplitude=amplitude)
    image = plots.spectrogram(tone, 8000, n_fft, colorbar=False).images[0]
    rows, columns = image.get_array().shape
    _, _, low, high = image.get_extent()
    middle = image.get_array()[:, columns // 2]
    freq = low + (middle.argmax() + 0.5) * (high - low) / rows
    assert np.isclose(freq, 1.0)  # kHz
    assert np.isclose(middle.max(), audio.amplitude_to_db(amplitude), atol=0.01)


def test_plots_take_their_arguments_in_the_old_order():
    ax = Figure().subplots()
    assert plots.waveshow(SOUND, 8000, ax, "a title").get_title() == "a title"
    ax = Figure().subplots()
    assert plots.spectrogram(SOUND, 8000, 256, ax, "a title").get_title() == "a title"
    ax = Figure().subplots()
    assert plots.mel_spectrogram(LOG_MEL, ax, "a title").get_title() == "a title"


def test_mel_grid_has_one_colour_bar_and_labels():
    fig = plots.mel_grid(np.stack([LOG_MEL] * 5), ["a", 1], columns=3)
    panels = fig.axes[:6]
    assert [ax.get_title() for ax in panels] == ["a", "1", "", "", "", ""]
    assert [len(ax.images) for ax in panels] == [1, 1, 1, 1, 1, 0]
    assert len(fig.axes) == 7
    assert fig.get_supxlabel() == "time" and fig.get_supylabel() == "mel band"


def test_plot_history_names_what_is_missing():
    with pytest.raises(KeyError, match="fid: in no row"):
        plots.plot_history(HISTORY, ["fid"])
    rows = [*HISTORY, {"step": 10, "fid": 3.0}]
    ax = plots.plot_history(rows, ["fid"], smooth=5)
    assert ax.lines[0].get_xydata().tolist() == [[10, 3]]


# Machado, Oliveira, Fernandes 2009: linear RGB as seen without long- or middle-wave cones
PROTANOPIA = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
DEUTERANOPIA = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]


def smallest_difference(colors, vision):
    "Least distance between two sRGB colours for a reader with this vision."
    rgb = np.array([mpl.colors.to_rgb(color) for color in colors])
    seen = np.clip(rgb**2.2 @ np.transpose(vision), 0, 1) ** (1 / 2.2)
    pairs = itertools.combinations(seen, 2)
    return min(np.linalg.norm(one - other) for one, other in pairs)


@pytest.mark.parametrize("vision", [PROTANOPIA, DEUTERANOPIA, np.eye(3)])
def test_line_colours_differ_for_any_colour_vision(vision):
    assert smallest_difference(plots.COLORS, vision) > 0.15


def test_matplotlibs_own_colours_do_not():
    assert smallest_difference(mpl.colormaps["tab10"](range(7)), PROTANOPIA) < 0.1


def test_use_style_sets_size_and_colours():
    plots.use_style()
    assert mpl.rcParams["figure.dpi"] == 110
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == plots.COLORS


# --- players


def sounds_in(page):
    encoded = re.findall(r'audio/wav;base64,([^"]+)', page)
    return [sf.read(io.BytesIO(base64.b64decode(text)))[0] for text in encoded]


def test_players_are_at_one_level_and_complete():
    sounds = {"a": SOUND, "b": 0.01 * SOUND, "silence": 0 * SOUND}
    a, b, silence = sounds_in(plots.player_html(sounds, 8000))
    assert np.allclose(audio.amplitude_to_db([audio.rms(a), audio.rms(b)]), -20, atol=0.02)
    assert not silence.any()
    unchanged = sounds_in(plots.player_html(sounds, 8000, level=None))
    for y, original in zip(unchanged, sounds.values(), strict=True):
        assert np.abs(y - original).max() <= 2.0**-16


def test_images_have_alternative_text_and_labels_are_escaped():
    page = plots.player_html({'<b> & "c"': SOUND}, 8000)
    assert 'alt="spectrogram of &lt;b&gt; &amp; &quot;c&quot;"' in page
    assert "<b>&lt;b&gt; &amp; &quot;c&quot;</b>" in page
    assert re.findall("<img(?! alt=)", page) == []
    assert (
        plots.image_html(b"x", "a < b") == '<img alt="a &lt; b" src="data:image/png;base64,eA==">'
    )


def test_thumbnails_are_small():
    page = plots.player_html({"noise": audio.white_noise(1, 8000)}, 8000)
    png = base64.b64decode(re.search(r'image/png;base64,([^"]+)', page)[1])
    assert plt.imread(io.BytesIO(png)).shape[:2] == (48, 96)
    assert len(png) < 15_000


def test_png_bytes_closes_the_figure():
    fig = plots.waveshow(SOUND, 8000).figure
    png = plots.png_bytes(fig)
    assert png.startswith(b"\x89PNG")
    assert not plt.fignum_exists(fig.number)


def test_a_page_is_whole():
    page = plots.html_page("Ups & downs", "<p>none</p>")
    assert page.startswith("<!doctype html>")
    assert "<title>gan_audio_tut: ups &amp; downs</title>" in page
    assert page.endswith("<h1>Ups &amp; downs</h1><p>none</p></html>")


# --- the interface of the three modules that every chapter uses


@pytest.mark.parametrize("module", [audio, audio_io, plots], ids=lambda m: m.__name__)
def test_public_functions_are_typed_and_documented(module):
    functions = [f for name in module.__all__ if inspect.isfunction(f := getattr(module, name))]
    assert functions
    for function in functions:
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty, function
        for name, parameter in signature.parameters.items():
            assert parameter.annotation is not parameter.empty, (function, name)
            is_lone = len(signature.parameters) == 1
            described = re.search(rf"\b{name}\b.* : ", inspect.getdoc(function))
            assert is_lone or described, (function, name)
