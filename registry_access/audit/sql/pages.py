"""Pages of the trail, newest first by the event's time: every filter is answered by an index, never by a count or an offset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, desc, literal_column, or_, select, tuple_

from registry_access.audit.interface import AuditQuery, AuditRow, Page
from registry_access.audit.sql.indexes import DECISION_POSTGRESQL, DECISION_SQLITE
from registry_access.audit.sql.tables import LABELS, records
from registry_access.model.audit_event import DENIED, AuditOutcome, Result, event_of, outcome_of, verdict_of

LIMIT_MAXIMUM = 1000
_intents = records.alias("intents")
_outcomes = records.alias("outcomes")
# Written out, not bound: a planner matches an index with a condition only where it sees the values.
_IS_INTENT: Any = literal_column("intents.kind = 'intent'")
_IS_OUTCOME: Any = literal_column("outcomes.kind = 'outcome'")
_REMARKABLE: Any = literal_column("outcomes.verdict NOT IN ('', 'allowed')")
_REMARKABLE_RESULT: Any = literal_column("outcomes.result NOT IN ('', 'allowed')")
_VERDICTS = {Result.REFUSED: (str(Result.REFUSED), DENIED), Result.FAILED: (str(Result.FAILED), DENIED)}

Fetch = Callable[[Any], Any]  # a statement's rows, awaited


class Pages:
    """`fetch` runs a statement; `dialect` is the database's."""

    def __init__(self, fetch: Fetch, dialect: str) -> None:
        self._fetch = fetch
        self._dialect = dialect
        self._no_unnumbered = False

    async def page(self, query: AuditQuery) -> Page:
        limit = min(max(query.limit, 1), LIMIT_MAXIMUM)
        if query.result in (None, Result.ALLOWED) or query.decision:
            # Most of what happens is allowed, so a page of it is near; a decision has a handful of records.
            found = await self._fetch(await self._by_intent(query, limit + 1))
            found = [each for each in found if _is_of(each, query.result)] if query.decision else found
        else:
            found = await self._of_result(query, query.result, limit + 1)
        rows = [row_of(each) for each in found[:limit]]
        return Page(tuple(rows), rows[-1].sequence if len(found) > limit else None)

    async def _by_intent(self, query: AuditQuery, limit: int) -> Any:
        conditions = [_IS_INTENT, *_labelled(_intents, query), *_timed(_intents.c.time, query)]
        if query.decision:
            expression = DECISION_POSTGRESQL if self._dialect == "postgresql" else DECISION_SQLITE
            expression = expression.replace("payload", "intents.payload")
            conditions.append(literal_column(expression) == query.decision)
        if query.result is Result.ALLOWED and not query.decision:
            conditions.append(_outcomes.c.result == str(Result.ALLOWED))
        if query.before is not None:
            at = await self._fetch(select(records.c.time).where(records.c.sequence == query.before))
            conditions.append(_older(_intents.c.time, _intents.c.sequence, at, query.before))
        order = (desc(_intents.c.time), desc(_intents.c.sequence))
        return _joined().where(*conditions).order_by(*order).limit(limit)

    async def _of_result(self, query: AuditQuery, result: Result, limit: int) -> Sequence[Any]:
        """Each verdict by itself, because each is in order in its index; then merged."""
        at: Sequence[Any] = ()
        if query.before is not None:
            own = select(records.c.event_id).where(records.c.sequence == query.before).scalar_subquery()
            where = (_outcomes.c.event_id == own) & _IS_OUTCOME
            at = await self._fetch(select(_outcomes.c.began, _outcomes.c.time, _outcomes.c.sequence).where(where))
        found: list[Any] = []
        for verdict in _VERDICTS.get(result, (str(result),)):
            found.extend(await self._fetch(self._of_verdict(query, verdict, at, limit)))
        if await self._has_unnumbered():
            found.extend(await self._fetch(self._of_old_result(query, result, at, limit)))
        found.sort(key=lambda row: (row.moment, row.place), reverse=True)
        return found

    def _of_verdict(self, query: AuditQuery, verdict: str, at: Sequence[Any], limit: int) -> Any:
        conditions = [
            _IS_OUTCOME,
            _outcomes.c.verdict == verdict,
            _REMARKABLE,
            *_labelled(_outcomes, query),
            *_timed(_outcomes.c.began, query),
        ]
        if at:
            moment = at[0].time if at[0].began is None else at[0].began
            conditions.append(tuple_(_outcomes.c.began, _outcomes.c.sequence) < tuple_(moment, at[0].sequence))
        return self._behind(_outcomes.c.began, query, conditions, limit)

    def _of_old_result(self, query: AuditQuery, result: Result, at: Sequence[Any], limit: int) -> Any:
        """Outcomes older than the register do not have their event's labels; the event's are asked."""
        conditions = [
            _IS_OUTCOME,
            _outcomes.c.number.is_(None),
            _outcomes.c.result == str(result),
            _REMARKABLE_RESULT,
            *_labelled(_intents, query),
            *_timed(_intents.c.time, query),
        ]
        if at:
            conditions.append(tuple_(_outcomes.c.time, _outcomes.c.sequence) < tuple_(at[0].time, at[0].sequence))
        return self._behind(_outcomes.c.time, query, conditions, limit)

    def _behind(self, moment: Any, query: AuditQuery, conditions: list[Any], limit: int) -> Any:
        join = _outcomes.join(_intents, and_(_intents.c.event_id == _outcomes.c.event_id, _IS_INTENT))
        return (
            select(
                _intents.c.sequence,
                _intents.c.payload,
                _outcomes.c.payload.label("outcome"),
                moment.label("moment"),
                _outcomes.c.sequence.label("place"),
            )
            .select_from(join)
            .where(*conditions)
            .order_by(desc(moment), desc(_outcomes.c.sequence))
            .limit(limit)
        )

    async def _has_unnumbered(self) -> bool:
        """Whether there are records older than the register; once there are none there never will be, but for a rollout's."""
        if not self._no_unnumbered:
            first = await self._fetch(select(records.c.number).order_by(records.c.sequence).limit(1))
            self._no_unnumbered = bool(first) and first[0].number is not None
        return not self._no_unnumbered


def row_of(row: Any) -> AuditRow:
    """A row of `sequence`, the event's `payload` and the outcome's (`outcome`, None while it is under way)."""
    return AuditRow(row.sequence, event_of(json.loads(row.payload)), outcome_of(json.loads(row.outcome)) if row.outcome else None)


def answers(outcome: AuditOutcome | None, result: Result | None) -> bool:
    """Whether an outcome is what a query for `result` asks for; None asks for any."""
    if result is None:
        return True
    return outcome is not None and verdict_of(outcome) in _VERDICTS.get(result, (str(result),))


def _is_of(row: Any, result: Result | None) -> bool:
    return answers(outcome_of(json.loads(row.outcome)) if row.outcome else None, result)


def _joined() -> Any:
    join = _intents.outerjoin(_outcomes, and_(_outcomes.c.event_id == _intents.c.event_id, _IS_OUTCOME))
    columns = (_intents.c.sequence, _intents.c.payload, _outcomes.c.payload.label("outcome"))
    return select(*columns).select_from(join)


def _labelled(table: Any, query: AuditQuery) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name in LABELS if (value := getattr(query, name))]


def _timed(column: Any, query: AuditQuery) -> list[ColumnElement[bool]]:
    bounds = []
    if query.since is not None:
        bounds.append(column >= query.since)
    if query.until is not None:
        bounds.append(column < query.until)
    return bounds


def _older(time: Any, sequence: Any, at: Sequence[Any], before: int) -> ColumnElement[bool]:
    """Behind the row of the cursor; a cursor that names no row means rows with a lower sequence."""
    if not at:
        return or_(sequence < before)
    found: ColumnElement[bool] = tuple_(time, sequence) < tuple_(at[0].time, before)
    return found
