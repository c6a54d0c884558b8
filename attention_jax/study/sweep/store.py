"""The database of a sweep: the Optuna study in it, whose it is, and what may be added to it."""

from collections.abc import Callable
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy.engine import make_url

from attention_jax.base.errors import Refused
from attention_jax.study.search import parameters
from attention_jax.study.search.domains import Range
from attention_jax.study.search.samplers import make_pruner, make_sampler
from attention_jax.study.search.space import Points
from attention_jax.study.sweep.plan import Sweep
from attention_jax.training.run.workdir import PLACEMENT, Difference, computed, differences

# The study's attribute that says what is searched; it is written last, so a study without it is not whole.
_SEARCHED = "sweep"
_WAIT_SECONDS = 60  # for a reader of the SQLite file, such as a dashboard


def open_study(url: str, name: str, sweep: Sweep, *, say: Callable[[str], None] = print) -> optuna.Study:
    """Makes the study of a sweep, or goes on with the one that is there.

    More trials are accepted, and lists that have more values: what was run stays.

    Args:
      url: of the database, such as "sqlite:///runs/sweep/study.sqlite".
      name: of the study in it.
      sweep: what is searched.
      say: takes a line on what was there.

    Raises:
      Refused: the database does not answer, or its study of that name searches something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    every = sweep.base.config()["evaluation"]["every"]
    how: dict[str, Any] = {
        "sampler": make_sampler(sweep.sampler, seed=sweep.seed),
        "pruner": make_pruner(sweep.pruner, every=every),
    }
    direction = StudyDirection.MAXIMIZE if sweep.base.task.higher_is_better else StudyDirection.MINIMIZE
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=_engine(url))
        there = _latest(storage, name)
        if there is None:
            study = optuna.create_study(storage=storage, study_name=name, direction=direction, **how)
            study.set_user_attr(_SEARCHED, described(sweep))
            return study
        study = optuna.load_study(storage=storage, study_name=there, **how)
        before = study.user_attrs[_SEARCHED]
        _check_same(before, described(sweep), name=name, url=url)
        if before != described(sweep):
            study = _grown(study, name, sweep, how, direction)
    except ImportError as error:
        raise Refused(f"storage {shown(url)}: its driver is missing ({error}): install it.") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        why = str(error.__cause__ or error).strip().splitlines()[0]
        raise Refused(f"storage {shown(url)} cannot be used: {why}. Give another --storage.") from error
    if study.trials:
        say(f"going on with the {len(study.trials)} trials in {shown(url)}")
    return study


def described(sweep: Sweep) -> dict[str, Any]:
    """Returns what makes a sweep the one that it is, as JSON values."""
    space = sweep.space
    if isinstance(space, Points):
        what: Any = {"points": [parameters.labels(point) for point in space.points]}
    else:
        what = {
            key: str(domain) if isinstance(domain, Range) else list(map(parameters.label, domain.values))
            for key, domain in space.domains.items()
        }
    how = {"sampler": sweep.sampler, "pruner": sweep.pruner, "sampler seed": sweep.seed}
    config = {key: value for key, value in computed(sweep.base.config()).items() if key not in PLACEMENT}
    return {"space": what, **how, "config": _json(config)}


def _check_same(there: dict[str, Any], here: dict[str, Any], *, name: str, url: str) -> None:
    """Refuses a study of something else; lists may have more values than they had."""
    grown = [change for change in differences(there["space"], here["space"], "space") if _has_grown(change)]
    other = [change for change in differences(there, here) if change not in grown]
    if other:
        said = "; ".join(map(str, other[:3]))
        raise Refused(
            f"the study {name!r} in {shown(url)} searches something else ({said}{' ...' if len(other) > 3 else ''}): "
            "give another --workdir, or the same space with more values."
        )


def _has_grown(change: Difference) -> bool:
    """Whether a list has all the values that it had."""
    there, here = change.there, change.here
    return isinstance(there, list) and isinstance(here, list) and all(value in here for value in there)


def _grown(
    study: optuna.Study, name: str, sweep: Sweep, how: dict[str, Any], direction: StudyDirection
) -> optuna.Study:
    """Copies a study into one whose lists have more values, which Optuna does not let a study do, and deletes it."""
    storage, known = study._storage, parameters.distributions(sweep.space)
    place = 2 + max(_place(other, name) for other in optuna.get_all_study_names(storage) if _place(other, name) >= 0)
    grown = optuna.create_study(storage=storage, study_name=f"{name} ({place})", direction=direction, **how)
    grown.add_trials([_with(trial, known) for trial in study.get_trials(deepcopy=False)])
    grown.set_user_attr(_SEARCHED, described(sweep))
    optuna.delete_study(study_name=study.study_name, storage=storage)
    return grown


def _with(trial: FrozenTrial, known: dict[str, Any]) -> FrozenTrial:
    return create_trial(
        state=trial.state,
        value=trial.value if trial.state == optuna.trial.TrialState.COMPLETE else None,
        params=trial.params,
        distributions={name: known[name] for name in trial.params},
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )


def _latest(storage: Any, name: str) -> str | None:
    """The newest whole study of a name; the others, which a kill left, are deleted."""
    mine = sorted((_place(other, name), other) for other in optuna.get_all_study_names(storage))
    mine = [(place, other) for place, other in mine if place >= 0]
    whole = [other for _, other in mine if _SEARCHED in optuna.load_study(storage=storage, study_name=other).user_attrs]
    for _, other in mine:
        if other not in whole[-1:]:
            optuna.delete_study(study_name=other, storage=storage)
    return whole[-1] if whole else None


def _place(study: str, name: str) -> int:
    """Which copy of a name a study is: "sweep" 0, "sweep (2)" 1; -1 where it is another's."""
    if study == name:
        return 0
    number = study.removeprefix(f"{name} (").removesuffix(")")
    return int(number) - 1 if study == f"{name} ({number})" and number.isdecimal() else -1


def _engine(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": _WAIT_SECONDS}} if url.startswith("sqlite") else {}


def shown(url: str) -> str:
    """Returns the URL of a database without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.SQLAlchemyError:
        return repr(url)


def _json(value: Any) -> Any:
    """A config as it comes back from JSON: tuples are lists."""
    if isinstance(value, dict):
        return {key: _json(part) for key, part in value.items()}
    return [_json(part) for part in value] if isinstance(value, list | tuple) else value
