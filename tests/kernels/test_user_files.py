"""A variant in a file of the user's own: found by path, held to what it claims, refused in words when it is wrong."""

import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Causal, Refused, attend, lookup, registry

TOKENS = jax.random.normal(jax.random.key(0), (2, 4, 2, 8))

HEADER = """
    from attention_jax.kernels import Claims, Source, register
    from attention_jax.kernels.mechanism import SoftmaxScore

    SOURCE = Source("a test", "none")
"""


@pytest.fixture
def write(tmp_path):
    """Writes a file of variants and returns its path."""
    registry.lookup.cache_clear()

    def write(body, file="mine.py"):
        path = tmp_path / file
        path.write_text(textwrap.dedent(HEADER) + textwrap.dedent(body))
        return str(path)

    yield write
    registry.lookup.cache_clear()


def a_variant(name="mine", claims="Claims()"):
    return f"""
        @register(source=SOURCE, claims={claims})
        def {name}(*, scale: float = 2.0):
            '''Dot products times a scale.'''
            return SoftmaxScore(scale=scale)
    """


def test_it_is_used_by_its_path_with_its_options(write):
    path = write(a_variant())
    result = attend(TOKENS, TOKENS, TOKENS, variant=f"{path}:mine:scale=0.5").out
    np.testing.assert_array_equal(result, attend(TOKENS, TOKENS, TOKENS, variant="scaled_dot:scale=0.5").out)
    assert lookup(f"{path}:mine").options == {"scale": (2.0, 2.0)}
    assert lookup(f"{path}:mine").name.endswith("mine")


def test_without_a_causal_form_a_causal_mask_is_refused(write):
    spec = write(a_variant(claims='Claims(causal="no")')) + ":mine"
    with pytest.raises(Refused, match=r"does not take a causal mask: .* Use variant scaled_dot"):
        attend(TOKENS, TOKENS, TOKENS, variant=spec, mask=Causal())
    assert attend(TOKENS, TOKENS, TOKENS, variant=spec).out.shape == TOKENS.shape


def test_an_approximately_causal_one_takes_a_causal_mask_and_says_what_it_is(write):
    spec = write(a_variant(claims='Claims(causal="approximate")')) + ":mine"
    assert lookup(spec).claims.causal == "approximate"
    assert attend(TOKENS, TOKENS, TOKENS, variant=spec, mask=Causal()).out.shape == TOKENS.shape


def test_what_it_does_not_claim_is_refused(write):
    spec = write(a_variant(claims="Claims(cross=False, grouped=False, bias=False, dropout=False)")) + ":mine"
    with pytest.raises(Refused, match="mine does not take keys of another length than the queries"):
        attend(TOKENS[:, :3], TOKENS, TOKENS, variant=spec)
    with pytest.raises(Refused, match="mine needs as many key heads as query heads, not 1 for 2"):
        attend(TOKENS, TOKENS[:, :, :1], TOKENS[:, :, :1], variant=spec)
    with pytest.raises(Refused, match="mine does not take a bias"):
        attend(TOKENS, TOKENS, TOKENS, variant=spec, bias=jnp.zeros(4))
    with pytest.raises(Refused, match="mine does not take dropout"):
        attend(TOKENS, TOKENS, TOKENS, variant=spec, dropout_rate=0.5, rng=jax.random.key(0))


def test_two_files_may_use_one_name_and_even_one_of_the_library(write):
    mine, other = write(a_variant("linear", claims="Claims(bias=False)"), "a.py"), write(a_variant("linear"), "b.py")
    assert not lookup(f"{mine}:linear").claims.bias
    assert lookup(f"{other}:linear").claims.bias
    assert lookup("linear").claims.state


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("def broken(:", "broken", "is not valid Python"),
        (a_variant(), "yours", "registers no attention 'yours'; it registers: mine"),
        ("def plain(): pass", "plain", "registers no attention 'plain'; it registers: none"),
        (a_variant(), "", "registers no attention ''; it registers: mine"),
        (a_variant(), "mine:scale=big", "has option scale='big', which is not float"),
        (a_variant(), "mine:size=3", r"has no option 'size' \(given 3\)"),
    ],
)
def test_a_file_or_a_name_that_is_wrong_is_refused(write, body, name, message):
    with pytest.raises(Refused, match=message):
        lookup(f"{write(body)}:{name}")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"nowhere\.py' does not exist: give a Python file that registers 'mine'"):
        lookup(f"{tmp_path / 'nowhere.py'}:mine")


def test_a_file_that_fails_to_run_fails_every_time(write):
    path = write("raise RuntimeError('broken')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            lookup(f"{path}:mine")
