"""Which steps are tried before a sweep, and how long it is said to take."""

from pathlib import Path

from attention_jax.study.engine.account import Account
from attention_jax.study.engine.cells import Cell
from attention_jax.study.engine.display import Lines
from attention_jax.study.sweep.preflight import preflight
from tests.study.sweep_cases import make_sweep


def varied(space: str, *keys: str, **options: object) -> list[tuple[object, ...]]:
    """Returns, of each cell that is tried, some keys."""
    found = []
    for cell in preflight(make_sweep(space, **options)):  # type: ignore[arg-type]
        parts = [key.partition(".") for key in keys]
        found.append(tuple(cell.config[section][key] for section, _, key in parts))
    return found


def test_each_value_of_a_list_is_tried_and_a_range_at_its_low_end() -> None:
    space = "optimizer.learning_rate=log(1e-4,1e-2) model.num_heads=[1,2,4] model.attention=[scaled_dot,linear]"
    keys = ("optimizer.learning_rate", "model.num_heads", "model.attention")
    assert varied(space, *keys) == [
        (1e-4, 1, "scaled_dot"),
        (1e-4, 2, "scaled_dot"),
        (1e-4, 4, "scaled_dot"),
        (1e-4, 1, "linear"),
    ]


def test_options_of_a_variant_are_tried_at_their_low_end() -> None:
    space = "model.attention=[scaled_dot,performer:features=int(4,16)]"
    assert varied(space, "model.attention") == [("scaled_dot",), ("performer:features=4",)]


def test_of_a_grid_points_that_differ_by_a_rate_are_tried_once() -> None:
    space = "optimizer.learning_rate=[1e-3,1e-2,1e-1] model.num_layers=[1,2]"
    assert varied(space, "model.num_layers", sampler="grid") == [(1,), (2,)]


def test_no_more_than_eight_are_tried() -> None:
    space = f"model.num_layers=[{','.join(map(str, range(1, 21)))}]"
    assert len(varied(space, "model.num_layers")) == 8


def test_the_time_foreseen_is_that_of_the_cells_that_are_planned(tmp_path: Path) -> None:
    account = Account(tmp_path, Lines(lambda line: None), whole=False, workers=2, planned=10)
    account.foresee({"ms_per_step": 100.0, "steps": 300})
    assert account.seconds_left() == 150.0
    account.admit(Cell("0", {"seed": 0}))
    assert account.seconds_left() == 150.0
