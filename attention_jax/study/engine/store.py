"""What is done of a study and who is at work on what: one table, in a file of the workdir or in a server's database.

The supervisor alone talks to it. A cell is leased by one UPDATE that takes it where nobody has it, or whoever had it
let the lease run out, by the database's own clock; so of two supervisors one gets it, whatever their clocks say. Only
the holder of a lease can finish a cell, so none is done twice.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Cell, Result
from attention_jax.training.run.outcome import RunFailed

FILE = "study.db"
# In the workdir: what tells the study from others in the storage of a server.
NAME_FILE = "study.name"
# A lease that was not renewed for so long is another's to take; the holder renews it four times as often.
LEASE_SECONDS = 60.0
# How long a storage that was there may not answer before the study ends.
PATIENCE_SECONDS = 60.0
FINISHED = ("done", "refused", "failed", "pruned")

_TABLE = sql.Table(
    "attention_jax_cells",
    sql.MetaData(),
    sql.Column("study", sql.String(64), primary_key=True),
    sql.Column("identity", sql.String(64), primary_key=True),
    sql.Column("position", sql.Integer, nullable=False),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("title", sql.Text, nullable=False),
    sql.Column("labels", sql.Text, nullable=False),
    # "waiting", "running", or one of FINISHED.
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("owner", sql.Text),
    # Seconds since 1970 by the database's clock.
    sql.Column("expires", sql.Float),
    sql.Column("result", sql.Text),
)
_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "EXTRACT(EPOCH FROM clock_timestamp())::double precision",
}
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Row:
    """A cell as the store knows it.

    Attributes:
      identity, name, title, labels: the cell's.
      status: "waiting", "running", or that of its result.
      owner: who has it, as "host:pid:number"; None where nobody has.
      result: None before it is finished.
    """

    identity: str
    name: str
    title: str
    labels: dict[str, Any]
    status: str
    owner: str | None
    result: Result | None


class Store:
    """The cells of one study in a storage."""

    def __init__(self, url: str, *, study: str = "study"):
        """Opens a storage, and makes the table where it is not there.

        Args:
          url: as SQLAlchemy takes it: "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/DATABASE".
          study: tells the cells of this study from others in the same storage.

        Raises:
          Refused: it is no such URL, its driver is not installed, or it does not answer.
        """
        self.study = study
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._engine = _engine(url)
        self._now: sql.ColumnElement[float] = sql.literal_column(_NOW[self._engine.dialect.name], sql.Float)
        self._mine = _TABLE.c.study == study
        try:
            _TABLE.metadata.create_all(self._engine)
        except exc.SQLAlchemyError as error:
            # Of two supervisors that begin together, one finds that the other has made it.
            if not self._is_there():
                raise _no_answer(self._engine.url, error) from error

    @property
    def on_one_machine(self) -> bool:
        """Whether it is a file, which one supervisor has at a time."""
        return self._engine.dialect.name == "sqlite"

    def register(self, cells: Iterable[Cell]) -> None:
        """Adds those cells that it does not have, after those that it has."""
        cells = list(cells)
        if not cells:
            return

        def add(connection: sql.Connection) -> None:
            there = connection.execute(sql.select(sql.func.count()).select_from(_TABLE).where(self._mine)).scalar_one()
            insert = _INSERT[self._engine.dialect.name](_TABLE).on_conflict_do_nothing()
            connection.execute(
                insert,
                [
                    {
                        "study": self.study,
                        "identity": cell.identity,
                        "position": there + number,
                        "name": cell.name,
                        "title": cell.title,
                        "labels": json.dumps(cell.labels),
                        "status": "waiting",
                    }
                    for number, cell in enumerate(cells)
                ],
            )

        self._ask(add)

    def rows(self) -> list[Row]:
        """Returns every cell of the study, in the order that they were added in."""
        query = sql.select(_TABLE).where(self._mine).order_by(_TABLE.c.position, _TABLE.c.identity)
        return [_row(found) for found in self._ask(lambda connection: connection.execute(query).all())]

    def row(self, cell: Cell) -> Row | None:
        """Returns one cell; None where it has no such."""
        query = sql.select(_TABLE).where(self._mine, _TABLE.c.identity == cell.identity)
        found = self._ask(lambda connection: connection.execute(query).first())
        return None if found is None else _row(found)

    def take(self, cell: Cell) -> bool:
        """Leases a cell; returns whether this supervisor has it now: not if it is finished, or another's."""
        free = sql.or_(_TABLE.c.owner.is_(None), _TABLE.c.owner == self.owner, _TABLE.c.expires < self._now)
        return (
            self._update(
                sql.and_(_TABLE.c.identity == cell.identity, _TABLE.c.status.not_in(FINISHED), free),
                status="running",
                owner=self.owner,
                expires=self._now + LEASE_SECONDS,
            )
            == 1
        )

    def renew(self) -> set[str]:
        """Renews every lease of this supervisor; returns the identities of the cells that it has."""
        mine = sql.and_(_TABLE.c.owner == self.owner, _TABLE.c.status == "running")
        self._update(mine, expires=self._now + LEASE_SECONDS)
        query = sql.select(_TABLE.c.identity).where(self._mine, mine)
        return set(self._ask(lambda connection: connection.execute(query).scalars().all()))

    def release(self, cells: Iterable[Cell]) -> None:
        """Gives cells back that were not finished."""
        identities = [cell.identity for cell in cells]
        self._update(
            sql.and_(_TABLE.c.identity.in_(identities), _TABLE.c.owner == self.owner, _TABLE.c.status == "running"),
            **_FREE,
        )

    def finish(self, cell: Cell, result: Result) -> bool:
        """Writes a result; returns whether it counts, which it does not where the lease has become another's."""
        return (
            self._update(
                sql.and_(
                    _TABLE.c.identity == cell.identity, _TABLE.c.owner == self.owner, _TABLE.c.status == "running"
                ),
                status=result.status,
                owner=None,
                expires=None,
                result=json.dumps(asdict(result)),
            )
            == 1
        )

    def put(self, cell: Cell, result: Result) -> None:
        """Writes a result that was had without this store, of a cell that has none."""
        there = sql.and_(_TABLE.c.identity == cell.identity, _TABLE.c.status.not_in(FINISHED))
        self._update(there, status=result.status, owner=None, expires=None, result=json.dumps(asdict(result)))

    def reopen(self, status: str) -> int:
        """Makes the finished cells of a status wait again; returns how many."""
        return self._update(_TABLE.c.status == status, **_FREE)

    def drop_leases(self) -> None:
        """Frees every cell that is leased: for whoever knows that no other supervisor lives."""
        self._update(_TABLE.c.status == "running", **_FREE)

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    def _update(self, where: sql.ColumnElement[bool], **values: Any) -> int:
        update = sql.update(_TABLE).where(self._mine, where).values(**values)
        return self._ask(lambda connection: connection.execute(update).rowcount)

    def _ask(self, action: Callable[[sql.Connection], Answer]) -> Answer:
        """Runs a transaction, again where the storage does not answer for a while.

        Each of ours can be run twice: what the first has done the second finds done.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    return action(connection)
            except (exc.OperationalError, exc.InterfaceError) as error:
                if time.monotonic() > until:
                    raise RunFailed(
                        f"storage {_said(self._engine.url)} has not answered for {PATIENCE_SECONDS:.0f} s "
                        f"({_reason(error)}). Once it does, the same command goes on."
                    ) from error
                time.sleep(1.0)

    def _is_there(self) -> bool:
        try:
            return sql.inspect(self._engine).has_table(_TABLE.name)
        except exc.SQLAlchemyError:
            return False


_FREE: dict[str, Any] = {"status": "waiting", "owner": None, "expires": None, "result": None}


def storage_url(workdir: Path, storage: str | None) -> str:
    """Returns the URL of a study's storage: the one given, or the file in its workdir."""
    return storage or f"sqlite:///{workdir / FILE}"


def check_url(url: str) -> None:
    """Raises Refused where a URL is of no database that can be a storage, or its driver is not here; asks nobody."""
    _engine(url).dispose()


def read_rows(url: str, *, study: str = "study") -> list[Row]:
    """Returns the cells of a study without writing anything, also while a supervisor is at work.

    Raises:
      Refused: the storage does not answer, or holds no study.
    """
    engine = _engine(url.replace("sqlite:///", "sqlite:///file:", 1) + "?mode=ro&uri=true" if "sqlite" in url else url)
    query = sql.select(_TABLE).where(_TABLE.c.study == study).order_by(_TABLE.c.position, _TABLE.c.identity)
    try:
        with engine.connect() as connection:
            return [_row(found) for found in connection.execute(query)]
    except exc.SQLAlchemyError as error:
        raise _no_answer(engine.url, error) from error
    finally:
        engine.dispose()


def _engine(url: str) -> sql.Engine:
    try:
        parsed = sql.make_url(url)
        if parsed.get_backend_name() not in _NOW:
            raise Refused(
                f"--storage={_said(parsed)}: it takes sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
            )
        waits = {"timeout": 30} if parsed.get_backend_name() == "sqlite" else {"connect_timeout": 10}
        return sql.create_engine(parsed, connect_args=waits, pool_pre_ping=True)
    except (exc.ArgumentError, exc.NoSuchModuleError) as error:
        raise Refused(
            f"--storage={url} is no URL of a database: give one such as postgresql+psycopg://USER@HOST/DATABASE."
        ) from error
    except ModuleNotFoundError as error:
        install = "pip install 'psycopg[binary]'" if error.name == "psycopg" else f"install {error.name}"
        raise Refused(
            f"--storage={_said(parsed)} needs the package {error.name}, which is not here: {install}."
        ) from None


def _no_answer(url: sql.URL, error: Exception) -> Refused:
    return Refused(f"storage {_said(url)} cannot be used: {_reason(error)}. Give another --storage, or start it.")


def _said(url: sql.URL) -> str:
    return url.render_as_string(hide_password=True)


def _reason(error: Exception) -> str:
    """The driver's own words, on one line."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()).rstrip(".")


def _row(found: Any) -> Row:
    result = None if found.result is None else Result(**json.loads(found.result))
    labels = json.loads(found.labels)
    return Row(found.identity, found.name, found.title, labels, found.status, found.owner, result)
