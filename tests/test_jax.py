"""Two programs that jax 0.10.2 gets wrong on a CPU: the JAX that is here must get them right."""

import os
import subprocess
import sys
import textwrap

MATRIX_VECTOR = """
    n = 32769
    i = jnp.arange(n, dtype=jnp.float32)
    x = jnp.stack((i, 0 * i, 0 * i), 1)
    m = jnp.eye(3)
    squares = lambda x: jax.vmap(lambda r: jnp.sum((m @ r) ** 2))(x)
    for f in (squares, jax.jit(squares)):
        assert f(x)[-1] == 1073741824, f(x)[-1]
"""
RANK_SEVEN = """
    a, b = (jax.random.normal(jax.random.key(k), (3, 1, 2, 2, 8, 8, 8)) for k in (0, 1))
    product = jax.jit(lambda a, b: jnp.sum(a * b, axis=3))
    right = (np.float64(a) * np.float64(b)).sum(3)
    np.testing.assert_allclose(product(a, b), right, rtol=1e-5, atol=1e-5)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own, compiled as a user's program is and not as the tests' are."""
    text = "import jax\nimport jax.numpy as jnp\nimport numpy as np\n" + textwrap.dedent(program)
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    return subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=False)


def test_a_vmap_of_a_matrix_vector_product_with_a_sum_is_right() -> None:
    """jax issue 39103: 1071645696 on jax 0.10.2."""
    ran = run(MATRIX_VECTOR)
    assert ran.returncode == 0, ran.stderr


def test_a_sum_of_an_array_of_rank_seven_is_right_and_does_not_end_the_process() -> None:
    """jax issues 39257 and 40412: jax 0.10.2 dies by a signal."""
    ran = run(RANK_SEVEN)
    assert ran.returncode == 0, (ran.returncode, ran.stderr)
