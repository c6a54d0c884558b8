"""What the charts draw, and that a reader can tell the variants apart."""

import itertools

import numpy as np
import pytest

from attention_jax.study.comparison.curves import Curve, Curves
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.charts import COLOURS, Look, curves_chart, scores_chart
from attention_jax.study.report.summary import summaries

PLAN = Plan(benchmarks=("listops",), variants=("scaled_dot", "linear"), seeds=(0, 1))

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1.0, on linear RGB.
VISION = {
    "full": np.eye(3),
    "red-blind": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "green-blind": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear_rgb(colour):
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    """Ottosson 2020, "A perceptual color space for image processing": distances are those of the eye."""
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return to_lab @ np.cbrt(to_cones @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_by_colour_blind_readers_too(vision):
    seen = [oklab(VISION[vision] @ linear_rgb(colour)) for colour in COLOURS]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    # Okabe and Ito's own six come to 0.076; a difference of 0.02 is just seen.
    assert nearest > 0.07


@pytest.mark.parametrize("page", ["#ffffff", "#15181d"])
def test_colours_stand_out_from_both_pages(page):
    def luminance(colour):
        return linear_rgb(colour) @ [0.2126, 0.7152, 0.0722] + 0.05

    for colour in COLOURS:
        bright, dark = sorted((luminance(colour), luminance(page)), reverse=True)
        assert bright / dark > 2.2, colour


def test_every_variant_of_a_large_plan_looks_different():
    look = Look([f"variant{number}" for number in range(30)])
    assert len(set(zip(look.colours, look.shapes, strict=True))) == 30
    assert len({(colour, tuple(dash)) for colour, dash in zip(look.colours, look.dashes, strict=True)}) == 30
    assert len(set(zip(look.shapes, look.glyphs, strict=True))) == 7


def test_the_look_of_a_variant_does_not_depend_on_who_finished():
    whole = Look(["a", "b", "c"])
    assert whole.colour().to_dict()["scale"] == {"domain": ["a", "b", "c"], "range": list(COLOURS[:3])}


@pytest.fixture
def results(result):
    return [
        result("scaled_dot", 0, 0.5, peak_bytes=100 * 2**20),
        result("scaled_dot", 1, 0.7, peak_bytes=100 * 2**20),
        result("linear", 0, 0.6, ms_per_step=2.0, peak_bytes=50 * 2**20),
        result("linear", 1, 0.9, ms_per_step=2.0, peak_bytes=50 * 2**20),
    ]


@pytest.fixture
def summary(results):
    return summaries(PLAN, results)[0]


def layers(chart):
    """Returns (mark, encoding, data) of each layer."""
    spec = chart.to_dict()
    return [
        (layer["mark"]["type"], layer["encoding"], layer.get("data", spec.get("data", {})).get("values"))
        for layer in spec["layer"]
    ]


def test_scores_are_drawn_best_first_with_interval_and_seeds(summary, results):
    drawn = {
        mark: (encoding, data) for mark, encoding, data in layers(scores_chart(summary, results, Look(PLAN.variants)))
    }
    encoding, points = drawn["point"]
    assert encoding["y"]["sort"] == ["linear", "scaled_dot"]
    assert [(point["variant"], round(point["score"], 6)) for point in points] == [("linear", 0.75), ("scaled_dot", 0.6)]
    # 0.5 and 0.7 allow no interval of an accuracy: the seeds are drawn alone.
    assert points[1]["high"] == points[1]["low"] == pytest.approx(0.6)
    assert [(tick["variant"], tick["seed"], tick["score"]) for tick in drawn["tick"][1]] == [
        (entry.variant, entry.seed, entry.score) for entry in results
    ]
    assert encoding["x"]["title"] == "test_accuracy"


def test_the_reference_line_is_at_the_mean_of_the_reference(summary, results):
    _, _, data = layers(scores_chart(summary, results, Look(PLAN.variants)))[0]
    assert data == [{"score": pytest.approx(0.6)}]


def test_curves_are_the_mean_and_every_seed():
    runs = (Curve("linear", 0, ((1, 0.0), (2, 1.0))), Curve("linear", 1, ((1, 1.0), (2, 3.0))))
    seeds, mean, _ = layers(curves_chart(Curves("validation_loss", runs), Look(PLAN.variants), most=10))
    assert seeds[1]["detail"] == {"field": "seed", "type": "nominal"}
    assert [(row["seed"], row["step"], row["value"]) for row in seeds[2]] == [
        (0, [1, 2], [0.0, 1.0]),
        (1, [1, 2], [1.0, 3.0]),
    ]
    assert [(row["step"], row["value"]) for row in mean[2]] == [([1, 2], [0.5, 2.0])]
    assert mean[1]["y"]["title"] == "validation_loss"


def test_one_seed_is_drawn_without_an_interval(result):
    results = [result("scaled_dot", 0, 0.5)]
    drawn = layers(scores_chart(summaries(PLAN, results)[0], results, Look(PLAN.variants)))
    [point] = next(data for mark, _, data in drawn if mark == "point")
    assert point["low"] == point["high"] == 0.5
    assert point["text"] == "0.5000"


def test_an_interval_is_drawn_within_the_bounds_of_the_measure(result):
    plan = Plan(benchmarks=("listops",), variants=("scaled_dot",), seeds=(0, 1, 2))
    results = [result("scaled_dot", seed, score) for seed, score in enumerate((0.99, 0.98, 0.94))]
    drawn = layers(scores_chart(summaries(plan, results)[0], results, Look(plan.variants)))
    [point] = next(data for mark, _, data in drawn if mark == "point")
    assert (point["low"], point["high"]) == (pytest.approx(0.8545, abs=1e-4), 1.0)


def test_more_points_than_altairs_limit_are_drawn():
    points = tuple((step, 0.5) for step in range(200))
    runs = tuple(Curve("linear", seed, points) for seed in range(26))
    seeds, _, _ = layers(curves_chart(Curves("validation_loss", runs), Look(PLAN.variants), most=200))
    assert sum(len(row["step"]) for row in seeds[2]) == 5200
