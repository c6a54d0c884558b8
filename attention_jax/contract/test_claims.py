"""What a variant does not claim is refused in words; what it claims works, its limits and its memory among it."""

import functools
from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    SPECS,
    accepting,
    claims,
    error,
    like_output,
    make,
    one_way,
    out_and_gradients,
    quick_jit,
    run,
    run_compiled,
    same_bits,
    usual_mask,
)
from attention_jax.contract.mask_cases import MASKS, takes
from attention_jax.kernels import Claims, Composition, Refused, Sizes, init, lookup
from attention_jax.training.flops import count_flops

KEY = jax.random.key(0)
LIMITS = [
    (limit, mask)
    for spec in SPECS
    for limit in claims(spec).limits
    for mask in ("none", "causal")
    if takes(limit.spec, mask)
]


def cross(spec):
    """Three queries and seven keys, with positions: a variant may have a mask by position of its own."""
    return {"inputs": make(spec, queries=3, keys=7), "positions": (jnp.arange(4, 7)[None], jnp.arange(7)[None])}


def all_outputs(spec, asked):
    """What it says that it gives, and what is asked for."""
    given = (name for name in ("weights", "lse") if name == asked or getattr(claims(spec), name))
    return {"outputs": ("out", *given)}


# For each claim that is true or false: the arguments that make use of it, and what the refusal calls it.
USES = {
    "bidirectional": (lambda spec: {"mask": None}, r"give mask=Causal\(\)"),
    "cross": (cross, "keys of another length"),
    "grouped": (lambda spec: {"inputs": make(spec, heads=4, kv_heads=2)}, "as many key heads as query heads"),
    "unequal_widths": (lambda spec: {"inputs": make(spec, width=8, key_width=6)}, "one width, not 8 and 6"),
    "bias": (lambda spec: {"bias": jnp.ones((7, 7))}, "a bias"),
    "dropout": (lambda spec: {"mask": one_way(spec), "rng": KEY, "dropout_rate": 0.4}, "dropout of weights"),
    "weights": (lambda spec: all_outputs(spec, "weights"), "attention weights"),
    "lse": (lambda spec: all_outputs(spec, "lse"), "lse"),
    "steps": (lambda spec: {"outputs": ("out", "state")}, "a state"),
    "state": (lambda spec: {"mask": one_way(spec), "outputs": ("out", "state")}, "a state"),
}


# A state is asked for by one argument, whichever of the two it is.
STATES = ("steps", "state")


def use(spec, claim):
    arguments = {"mask": usual_mask(spec)} | USES[claim][0](spec)
    return run_compiled(spec, arguments.pop("inputs", None) or make(spec), **arguments)


def test_every_claim_that_is_true_or_false_has_its_test():
    assert set(USES) == {field.name for field in fields(Claims) if isinstance(field.default, bool)}


@pytest.mark.parametrize(
    ("spec", "claim"),
    [
        (spec, claim)
        for spec in SPECS
        for claim in USES
        if claim not in STATES or getattr(claims(spec), claim) or not any(getattr(claims(spec), one) for one in STATES)
    ],
)
def test_a_claim_that_is_true_works_and_one_that_is_false_is_refused(spec, claim):
    if getattr(claims(spec), claim):
        result = use(spec, claim)
        assert np.isfinite(result.out).all()
        assert claim not in ("weights", "lse", "state") or getattr(result, claim) is not None
    else:
        with pytest.raises(Refused, match=USES[claim][1]) as refusal:
            use(spec, claim)
        assert spec in str(refusal.value)


@pytest.mark.parametrize("spec", SPECS)
def test_a_causal_mask_is_taken_unless_there_is_no_causal_form(spec):
    if claims(spec).causal == "no":
        with pytest.raises(Refused, match=f"{spec} does not take a causal mask"):
            run(spec, make(spec), mask=MASKS["causal"].mask)
    else:
        assert np.isfinite(run_compiled(spec, make(spec), mask=MASKS["causal"].mask).out).all()


@pytest.mark.parametrize("spec", SPECS)
def test_only_what_was_asked_for_is_returned(spec):
    result = run_compiled(spec, make(spec), mask=usual_mask(spec))
    assert result.weights is result.lse is result.state is result.aux is None


@pytest.mark.parametrize(("limit", "mask"), LIMITS, ids=[f"{of.spec}={of.equals}-{mask}" for of, mask in LIMITS])
def test_the_limit_equals_the_other_variant(limit, mask):
    widths = Sizes(4, 2 if claims(limit.spec).grouped else 4, 8, 8, 5, length=7)
    inputs = make(limit.spec, scale=limit.input_scale)
    if limit.unit_norm:
        unit = (array / jnp.linalg.norm(array, axis=-1, keepdims=True) for array in inputs[:2])
        inputs = inputs._replace(**dict(zip(("query", "key"), unit, strict=True)))
    if limit.params is not None:
        inputs = inputs._replace(params=limit.params(widths))
    trained, drawn = init(limit.equals, KEY, widths)
    ours = run_compiled(limit.spec, inputs, mask=MASKS[mask].mask).out
    per_token = {name: inputs.per_token[name] for name in lookup(limit.equals).mechanism.per_token}
    other = inputs._replace(params={**trained, **drawn}, per_token=per_token)
    other = run_compiled(limit.equals, other, mask=MASKS[mask].mask).out
    assert error(ours, other) <= limit.tolerance


@functools.cache
def forward_and_backward(spec, tokens):
    """Causal attention with its gradients, traced for the shapes of so many tokens."""
    inputs = jax.eval_shape(lambda: make(spec, batch=1, queries=tokens))
    return quick_jit(jax.grad(lambda inputs: run(spec, inputs, mask=one_way(spec)).out.sum())).trace(inputs)


# From 1024 on an engine that takes some queries at a time takes no more of them.
LENGTHS = (1024, 4096)


def at_each(lengths, measure, spec):
    """What is measured at these lengths: with options for seven tokens a program has thousands of blocks."""
    default = lookup(spec).name if spec == claims(spec).tried else spec
    try:
        return [measure(default, tokens) for tokens in lengths]
    except Refused:  # It needs a grid.
        return [measure(spec, tokens) for tokens in lengths]


def temporary_bytes(spec, tokens):
    """What the compiled forward and backward of causal attention need beside their inputs and outputs."""
    return forward_and_backward(spec, tokens).lower().compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("spec", SPECS)
def test_memory_grows_with_the_number_of_tokens_as_claimed(spec):
    at_1024, at_4096 = at_each(LENGTHS, temporary_bytes, spec)
    if claims(spec).memory == "linear":
        # Lines of a grid are short at first, and so all weights of each are formed: it is the end that counts.
        ends = at_each([4 * tokens for tokens in LENGTHS], temporary_bytes, spec) if at_4096 > 4.6 * at_1024 else []
        assert at_4096 <= 4.6 * at_1024 or ends[1] <= 4.6 * ends[0]
    else:
        assert at_4096 > 9 * at_1024, "it claims quadratic memory and needs less"


def work(spec, tokens):
    """The multiplications and additions of causal attention, forward and backward."""
    return count_flops(forward_and_backward(spec, tokens).jaxpr.jaxpr)


@pytest.mark.parametrize("spec", SPECS)
def test_work_grows_with_the_number_of_tokens_as_claimed(spec):
    at_1024, at_4096 = at_each(LENGTHS, work, spec)
    ratio, claim = at_4096.count / at_1024.count, claims(spec).time
    if claim == "quadratic":
        # Tiles that are skipped where the mask hides all of them are counted as one.
        assert ratio > 4.6 or not at_4096.complete, "it claims quadratic work and needs less"
    else:
        assert ratio <= {"linear": 4.6, "subquadratic": 9.2}[claim]
        told = at_4096.complete or isinstance(lookup(spec).mechanism, Composition)
        assert told or "gather" in accepting(spec, make(spec, batch=1, queries=1024), mask=one_way(spec)), (
            "its tiles are as many as the mask leaves, and that may be quadratic"
        )


def test_the_error_of_performer_falls_as_the_root_of_its_features():
    def average_error(features):
        spec, inputs = f"performer:features={features}", make("scaled_dot", scale=0.5)
        draws = (init(spec, jax.random.key(seed), Sizes(4, 2, 8, 8, 5))[1] for seed in range(8))
        exact = np.asarray(run_compiled("scaled_dot", inputs).out)
        estimates = (run_compiled(spec, inputs._replace(params=drawn), "dense").out for drawn in draws)
        errors = [np.asarray(estimate) - exact for estimate in estimates]
        return float(np.sqrt(np.mean(np.square(errors))))

    few, many = average_error(256), average_error(4096)
    assert few / 8 < many < few / 2, "16 times the features should give a quarter of the error"


@pytest.mark.parametrize("engine", ["recurrence", "dense"])
def test_performer_does_not_leak_the_future_however_large_its_keys_are(engine):
    spec = "performer:features=16"
    inputs, past = make(spec), (np.arange(7) < 4)[None, :, None, None]
    arguments = {"mask": MASKS["causal"].mask, "engine": engine}
    plain, _ = out_and_gradients(spec, inputs, past * like_output(inputs), **arguments)
    for scale in (1e2, 1e4, 1e30):
        grown = inputs._replace(key=np.where(past, inputs.key, inputs.key * scale))
        out, gradients = out_and_gradients(spec, grown, past * like_output(inputs), **arguments)
        np.testing.assert_array_equal(out[:, :4], plain[:, :4])
        assert all(np.isfinite(array).all() for array in gradients[:3])
        assert all((np.asarray(array)[:, 4:] == 0).all() for array in gradients[:3])


def unread(spec):
    """The arrays, of all and per token, that a variant declares and that change nothing it gives."""
    inputs = make(spec)

    def all_of(inputs):
        outputs = {"outputs": ("out", "aux")} if claims(spec).aux else {}
        result = run_compiled(spec, inputs, mask=usual_mask(spec), **outputs)
        return result.out, result.aux

    plain, changed = all_of(inputs), {}
    for name, array in inputs.params.items():
        changed[name] = inputs._replace(params={**inputs.params, name: 1.5 * array + 0.3})
    for name, array in inputs.per_token.items():
        changed[name] = inputs._replace(per_token={**inputs.per_token, name: 1.5 * array + 0.3})
    return [name for name, other in changed.items() if same_bits(all_of(other), plain)]


@pytest.mark.parametrize("spec", SPECS)
def test_every_array_that_is_declared_is_read(spec):
    names = ", ".join(unread(spec))
    assert not names, f"{names}: declared and read by nothing: take it out, or read given.params or given.per_token"


def test_an_array_and_an_input_that_nothing_reads_are_found(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from attention_jax.kernels import PER_HEAD, Claims, SoftmaxScore, Source, constant, register\n"
        "@register(source=Source('a test', 'none'), claims=Claims())\n"
        "def gated() -> SoftmaxScore:\n"
        "    'Softmax with a gate and a scale that nothing reads.'\n"
        "    return SoftmaxScore(per_token={'gate': PER_HEAD}, arrays={'scale': constant(1.0, 'N')})\n"
    )
    assert unread(f"{file}:gated") == ["scale", "gate"]
