"""Whether a value suits the type of an option."""

from typing import Annotated, Any, Literal

import pytest

from attention_jax.base.errors import Refused
from attention_jax.base.options import AtLeast, check_bounds, check_types, kinds, takes, words


@pytest.mark.parametrize(
    ("hint", "taken", "refused"),
    [
        (int, [0, -3], [True, 1.0, "1", None]),
        (float, [1, 0.5], [False, "0.5", None]),
        (bool, [True], [1, "true", None]),
        (str, ["a"], [1, None]),
        (int | None, [3, None], [0.5, True]),
        (float | str, [1, "auto"], [None, True]),
        (Literal["first", "last"], ["first"], ["middle", None]),
        (int | tuple[int, int], [4, (1, 8)], [(1,), (1, 8, 2), (1.0, 8), [1, 8], True]),
        (tuple[str, ...], [(), ("a", "b")], [("a", 1), ["a"], None]),
        (Any, [1, None, "x"], []),
    ],
)
def test_a_type_takes_its_values_alone(hint: Any, taken: list[Any], refused: list[Any]) -> None:
    assert all(takes(hint, value) for value in taken)
    assert not any(takes(hint, value) for value in refused)


def test_a_type_in_words() -> None:
    assert words(int | None) == "int or None"
    assert words(float) == "float"
    assert words(Literal["half", "interleaved"]) == "'half' or 'interleaved'"
    assert kinds(int | None) == (int, type(None))


def test_an_option_of_another_type_is_refused_by_name() -> None:
    def lamp(*, watts: int, colour: "str | None" = None) -> None: ...

    check_types(lamp, {"watts": 3, "colour": "red"}, owner="lamp")
    with pytest.raises(Refused, match=r"^lamp has option watts=2\.5, which is not int\.$"):
        check_types(lamp, {"watts": 2.5}, owner="lamp")
    with pytest.raises(Refused, match="colour=3, which is not str or None"):
        check_types(lamp, {"colour": 3}, owner="lamp")


def test_an_option_below_its_bound_is_refused_by_name() -> None:
    def lamp(
        *, watts: Annotated[int | None, AtLeast(1)], lumens: int = 0, height: Annotated[int, AtLeast(-2)]
    ) -> None: ...

    for fine in ({"watts": 1, "lumens": -5}, {"watts": None, "height": -2}, {}):
        check_bounds(lamp, fine, owner="lamp.")
    for given, said in (({"watts": 0}, "watts=0.*at least 1"), ({"watts": 5, "height": -3}, "height=-3.*at least -2")):
        with pytest.raises(Refused, match=rf"^lamp\.{said}\.$"):
            check_bounds(lamp, given, owner="lamp.")
