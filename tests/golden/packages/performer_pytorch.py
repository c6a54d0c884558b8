"""`performer-pytorch`: random features with the variant's projection, and linear attention by features of any kind."""

from functools import partial

import performer_pytorch.performer_pytorch as package
from torch.nn.functional import elu

from tests.golden.packages.case import normal, write

B, T, N, H, FEATURES = 2, 12, 2, 4, 12
DIFFERS = "1e-4 is added to each feature, after the highest exponent of all keys is taken out, later ones too"


def summed(query, key, value, causal):
    how = partial(package.causal_linear_attention_noncuda, eps=0) if causal else package.linear_attention
    return how(query, key, value).transpose(1, 2)


def performer(query, key, value, projection, causal):
    """Nothing is added to the features."""
    query, key, value = (array.transpose(1, 2) for array in (query, key, value))
    features = partial(package.softmax_kernel, projection_matrix=projection.detach(), eps=0)
    return summed(features(query, is_query=True), features(key, is_query=False), value, causal)


def as_published(query, key, value, projection, causal):
    attention = package.FastAttention(H, FEATURES, causal=causal).double()
    attention.projection_matrix = projection.detach()
    return attention(*(array.transpose(1, 2) for array in (query, key, value))).transpose(1, 2)


def linear(query, key, value, causal):
    query, key, value = (array.transpose(1, 2) for array in (query, key, value))
    features = partial(
        package.generalized_kernel,
        projection_matrix=None,
        kernel_fn=lambda array: elu(array) + 1,
        kernel_epsilon=0,
        normalize_data=False,
    )
    return summed(features(query), features(key), value, causal)


def main():
    three = {name: normal(B, T, N, H, seed=seed) for seed, name in enumerate(("query", "key", "value"))}
    projection = {"params/projection": normal(FEATURES, H, seed=3)}
    long = {**three, "key": 4 * three["key"]}
    spec = f"performer:features={FEATURES}"
    kernel, sums = "softmax_kernel and linear_attention", "generalized_kernel and linear_attention"
    for name, call, of_package, causal, arrays, variant, differs in (
        ("performer", performer, kernel, False, three | projection, spec, None),
        ("performer_causal", performer, kernel, True, three | projection, spec, None),
        ("performer_as_published", as_published, "FastAttention", True, long | projection, spec, DIFFERS),
        ("linear", linear, sums, False, three, "linear", None),
        ("linear_causal", linear, sums, True, three, "linear", None),
    ):
        write(
            f"performer_pytorch_{name}",
            package="performer-pytorch",
            function=of_package,
            call=partial(call, causal=causal),
            arrays=arrays,
            variant=variant,
            mask="causal" if causal else None,
            still=("params/projection",),
            differs=differs,
        )


if __name__ == "__main__":
    main()
