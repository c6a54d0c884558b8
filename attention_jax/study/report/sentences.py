"""What a study's numbers say, in sentences: verdicts, ties, what it could have found, and how to read its tables."""

import statistics
from collections.abc import Sequence

from attention_jax.base.errors import Refused
from attention_jax.kernels.recipe import NAMED, Recipe
from attention_jax.kernels.registry import lookup, names
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.numbers import number
from attention_jax.study.report.overall import Overall
from attention_jax.study.report.summary import Row, Summary
from attention_jax.study.statistics.family import ERROR, LEAST_SEEDS
from attention_jax.study.statistics.intervals import CONFIDENCE
from attention_jax.study.statistics.measures import bounds
from attention_jax.study.statistics.power import MOST_SEEDS, POWER

BAND = 0.1  # of the reference's parameters: variants within it are of one size
_WILD = 10  # times the median spread; of 15 equal variants with 3 seeds the largest is about 3 times


def explanation(plan: Plan) -> list[str]:
    """Returns how to read the tables, with what the number of seeds of `plan` allows to say, a line each."""
    seeds = len(plan.seeds)
    few = f" With {seeds} seed{'s' if seeds > 1 else ''} there is none: give at least {LEAST_SEEDS}."
    return [
        f"score: mean over seeds with its {CONFIDENCE:.0%} interval, within the bounds of the measure, as ± or [low, "
        "high]. Where the runs allow none narrower than half the measure's range, the lowest and the highest run: "
        "(low to high).",
        "solved: on a task that a run solves or does not, in how many seeds it was, and the exact interval of the "
        "chance that a run solves it; the mean has no interval there.",
        f"verdict: against the reference. p <= {ERROR} decides; it counts all comparisons of a benchmark together: of "
        f"20 studies of equal variants, one is expected to show any verdict but not separated."
        + (few if seeds < LEAST_SEEDS else ""),
        "difference: variant minus reference, over the seeds that both have, with the 95% interval of this pair alone. "
        "group: variants that share a letter are not separated when all pairs are compared at once, which asks more "
        "than comparing each with the reference.",
        "All of this is about what changes from seed to seed, not about the choice of the test examples, and a kind of "
        "failure that no run has shown is in no interval.",
        f"params: trained parameters, with by how much where that is more than {BAND:.0%} off the reference's. ms/step "
        "and seconds (of one run): means over seeds. memory: the largest peak.",
        "Costs are of training runs themselves. ms/step is the median over the windows between two records of a run, "
        "without evaluation, saving and compiling; quartiles apart: how far the quartiles of those windows lie apart. "
        "measured: alone on the machine, or beside so many other workers of the study, which slow each other down: "
        "--workers=1 measures alone. FLOPs are counted, not measured: multiplications and additions of a step. memory "
        "is what the compiled step needs. compile s is the longest of the seeds: others may find their program in the "
        "cache. decode state: what one sequence holds at the model's full length, of its keys and values or recurrent "
        "state, computed from shapes; - where the model does not decode.",
    ]


def title(plan: Plan) -> str:
    """Returns what a comparison is called: "6 variants on mqar, digits"."""
    return f"{counted(len(plan.variants), 'variant')} on {', '.join(plan.benchmarks)}"


def counted(number: int, noun: str) -> str:
    """Returns "1 seed" or "3 seeds"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def heading(summary: Summary) -> str:
    """Returns the metric and its direction: "test_accuracy, higher is better"."""
    if summary.metric is None:
        return "no run is done"
    return f"{summary.metric}, {'higher' if summary.higher_is_better else 'lower'} is better"


def verdicts(summary: Summary) -> str:
    """Returns the verdicts, in one line: "Against scaled_dot: better: ...; worse: ..."."""
    found: dict[str, list[str]] = {}
    for row in summary.scored:
        if row.comparison is not None:
            found.setdefault(row.comparison.verdict, []).append(row.variant)
    if not found:
        return f"Nothing to compare with the reference, {summary.reference}."
    listed = "; ".join(f"{verdict}: {', '.join(found[verdict])}" for verdict in sorted(found))
    return f"Against {summary.reference}: {listed}."


def sentences(summary: Summary, *, plan: Plan) -> list[str]:
    """Returns what else the study says of one benchmark, a sentence each; nothing where nothing was compared."""
    return [
        *_seeds(summary, plan),
        *_recipes(summary),
        *_sizes(summary),
        *_spreads(summary),
        *_power(summary),
        *_more_seeds(summary),
        *_solved(summary),
    ]


def size_apart(row: Row, summary: Summary) -> str | None:
    """Returns by how much the parameters of a row differ from the reference's, such as "+43%"; None within `BAND`."""
    reference = next((one.parameters for one in summary.rows if one.variant == summary.reference), None)
    if not reference or row.parameters is None or abs(row.parameters - reference) <= BAND * reference:
        return None
    return f"{row.parameters / reference - 1:+.0%}"


def _seeds(summary: Summary, plan: Plan) -> list[str]:
    """Says which runs the verdicts do without, and why there are none."""
    said = []
    few = [row for row in summary.scored if row.comparison and row.comparison.verdict == "too few seeds"]
    if few and not summary.seeds:
        said.append(
            f"A verdict needs {LEAST_SEEDS} seeds or more that variant and reference share; here the most is "
            f"{max(row.comparison.seeds for row in few if row.comparison)}."
        )
    elif few:
        names = ", ".join(f"{row.variant} ({row.comparison.seeds})" for row in few if row.comparison)
        said.append(f"Too few seeds beside those of the others for a verdict: {names}.")
    dropped = [seed for seed in plan.seeds if seed not in summary.seeds]
    if summary.seeds and dropped:
        said.append(
            f"The verdicts use the seeds that every variant with a verdict has: {_listed(summary.seeds)}, "
            f"without {_listed(dropped)}."
        )
    return said


def _recipes(summary: Summary) -> list[str]:
    """Says with what around their kernels the variants were trained, where their names say which variants they are."""
    words = {word for row in summary.rows for word in row.variant.rpartition(":=")[2].split()}
    specs = {word.partition("attention=")[2] or word for word in words}
    told = {spec: recipe for spec in sorted(specs) if (recipe := _recipe(spec)) not in (None, NAMED["none"])}
    if not told:
        return []
    listed = ". ".join(f"{spec}: {recipe}" for spec, recipe in told.items())
    return [f"Trained with more than the kernel, which recipe=none leaves out. {listed}."]


def _recipe(spec: str) -> Recipe | None:
    """The recipe of a variant of the library; None of what is none, or was one when the study ran."""
    try:
        return lookup(spec).recipe if spec.partition(":")[0] in names() else None
    except Refused:
        return None


def _sizes(summary: Summary) -> list[str]:
    """Says which variants are of another size than the reference: what they are better by may be that."""
    apart = {row.variant: said for row in summary.scored if (said := size_apart(row, summary)) is not None}
    if not apart:
        return []
    listed = ", ".join(f"{variant} {said}" for variant, said in apart.items())
    return [f"Not of the reference's size, to {BAND:.0%} of its parameters: {listed}."]


def _spreads(summary: Summary) -> list[str]:
    """Says where one variant spreads so much more than the rest that the rule is at its weakest."""
    spreads = {
        row.variant: statistics.stdev(row.score.runs) for row in summary.scored if row.score and row.score.seeds > 2
    }
    if not summary.seeds or summary.solved_at is not None or len(spreads) < 3:
        return []
    usual = statistics.median(spreads.values())
    wild = [variant for variant, spread in spreads.items() if spread > _WILD * usual > 0]
    if not wild:
        return []
    return [
        f"The seeds of {', '.join(wild)} spread more than {_WILD} times as much as the median variant's: that hides "
        "small differences between the others, and in simulations up to 10% of such studies show a false verdict."
    ]


def _power(summary: Summary) -> list[str]:
    if summary.outlook is None:
        return []
    smallest = summary.outlook.smallest
    if smallest is None:
        return ["Beside what seeds and variants do, the scores do not spread: what this study could find is not known."]
    low, high = bounds(str(summary.metric))
    if smallest > high - low:
        return [f"No difference that {summary.metric} can have would be found by {POWER:.0%} of studies like this one."]
    return [f"{POWER:.0%} of studies with these seeds and this spread find a true difference of {number(smallest)}."]


def _more_seeds(summary: Summary) -> list[str]:
    if summary.outlook is None or not summary.outlook.more_seeds:
        return []
    known = {variant: more for variant, more in summary.outlook.more_seeds.items() if more is not None}
    beyond = [variant for variant in summary.outlook.more_seeds if variant not in known]
    parts = [f"{variant} about {more}" for variant, more in sorted(known.items(), key=lambda item: item[1])]
    if beyond:
        parts.append(f"{', '.join(beyond)} more than {MOST_SEEDS - len(summary.seeds)}")
    return [
        f"More seeds that would separate from {summary.reference}, were the difference seen the true one: "
        f"{'; '.join(parts)}."
    ]


def _solved(summary: Summary) -> list[str]:
    if summary.solved_at is None:
        return []
    side = "from" if summary.higher_is_better else "down to"
    said = [f"The runs solve this task or do not: solved means {side} {number(summary.solved_at)} on."]
    if summary.steps_to_solve:
        steps = "; ".join(f"{variant} {step:.0f}" for variant, step in summary.steps_to_solve.items())
        said.append(f"Steps to solve, the median of the seeds whose learning curve gets there: {steps}.")
    return said


def over_benchmarks(overall: Overall) -> list[str]:
    """Returns how to read the ranks over several benchmarks, a sentence each."""
    count = len(overall.benchmarks)
    said = [
        f"Mean rank over {count} benchmarks, 1 is best. Two variants are separated where their mean ranks differ by "
        f"{overall.critical:.2f} or more (Nemenyi, 5%)"
        + ("; no two can, on so few benchmarks." if overall.critical > overall.most else ".")
    ]
    if overall.p is not None:
        differ = "differ" if overall.p <= ERROR else "are not shown to differ"
        said.append(f"The ranks {differ} over the benchmarks as a whole (Friedman, p = {overall.p:.3f}).")
    said.append(
        f"better: the probability that a run of the variant beats one of {overall.reference}, the mean over the "
        f"benchmarks, with its {CONFIDENCE:.0%} interval."
    )
    return said


def _listed(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
