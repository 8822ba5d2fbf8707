"""What the answers to bulk requests mean."""

from __future__ import annotations

import doctest
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from txid_sync.sinks import bulk
from txid_sync.sinks.bulk import (
    ITEM_CASES,
    REQUEST_CASES,
    Action,
    AnswerError,
    Case,
    Outcome,
    actions_of,
    error_of,
    item_outcome,
    refusals,
    request_outcome,
)

CONFLICT = "version_conflict_engine_exception"
REJECTED = "es_rejected_execution_exception"
BLOCK = "cluster_block_exception"

ITEMS = [
    (200, "", "", "index", Outcome.DONE),
    (201, "", "", "index", Outcome.DONE),
    (200, "", "", "delete", Outcome.DONE),
    (404, "", "", "delete", Outcome.DONE),
    (404, "", "", "index", Outcome.RETRY),
    (409, CONFLICT, "current version [7] is higher", "index", Outcome.CONFLICT),
    (409, CONFLICT, "current version [7] is higher", "delete", Outcome.CONFLICT),
    (409, "other", "", "index", Outcome.RETRY),
    (404, "index_not_found_exception", "no such index", "delete", Outcome.MISSING_INDEX),
    (404, "index_not_found_exception", "no such index", "index", Outcome.MISSING_INDEX),
    (429, REJECTED, "", "index", Outcome.RETRY),
    (429, "circuit_breaking_exception", "", "index", Outcome.RETRY),
    (429, BLOCK, "[TOO_MANY_REQUESTS/12/disk usage exceeded]", "delete", Outcome.BLOCKED),
    (403, BLOCK, "[FORBIDDEN/12/index read-only / allow delete]", "index", Outcome.BLOCKED),
    (403, BLOCK, "[FORBIDDEN/8/index write (api)]", "index", Outcome.BLOCKED),
    (503, BLOCK, "no master", "index", Outcome.BLOCKED),
    (400, "index_closed_exception", "closed", "index", Outcome.BLOCKED),
    (403, "security_exception", "action is unauthorized", "index", Outcome.STOP),
    (401, "security_exception", "", "index", Outcome.STOP),
    (400, "illegal_argument_exception", "no write index is defined", "index", Outcome.STOP),
    (400, "routing_missing_exception", "routing is required", "index", Outcome.STOP),
    (400, "illegal_argument_exception", "Limit of total fields [1000]", "index", Outcome.DEAD),
    (400, "mapper_parsing_exception", "failed to parse", "index", Outcome.DEAD),
    (400, "document_parsing_exception", "failed to parse", "index", Outcome.DEAD),
    (400, "strict_dynamic_mapping_exception", "", "index", Outcome.DEAD),
    (503, "unavailable_shards_exception", "", "index", Outcome.RETRY),
    (503, "no_shard_available_action_exception", "", "index", Outcome.RETRY),
    (503, "process_cluster_event_timeout_exception", "", "index", Outcome.RETRY),
    (500, "timeout_exception", "", "index", Outcome.RETRY),
    (500, "unnamed", "", "index", Outcome.RETRY),
    (418, "teapot", "", "index", Outcome.RETRY),
]

REQUESTS = [
    (200, "", "", Outcome.ANSWERED),
    (413, "", "", Outcome.SPLIT),
    (413, "content_too_long_exception", "", Outcome.SPLIT),
    (400, "illegal_argument_exception", "Malformed action", Outcome.SPLIT),
    (400, "action_request_validation_exception", "id is too long", Outcome.SPLIT),
    (400, "x_content_parse_exception", "", Outcome.SPLIT),
    (400, "", "", Outcome.UNKNOWN),
    (400, "illegal_argument_exception", "contains unrecognized parameter: [x]", Outcome.STOP),
    (404, "index_not_found_exception", "", Outcome.MISSING_INDEX),
    (404, "", "", Outcome.UNKNOWN),
    (401, "security_exception", "", Outcome.STOP),
    (403, "", "", Outcome.STOP),
    (403, BLOCK, "", Outcome.BLOCKED),
    (503, BLOCK, "state not recovered", Outcome.BLOCKED),
    (405, "", "", Outcome.STOP),
    (406, "media_type_header_exception", "", Outcome.STOP),
    (429, REJECTED, "", Outcome.RETRY),
    (429, "circuit_breaking_exception", "", Outcome.RETRY),
    (503, "master_not_discovered_exception", "", Outcome.RETRY),
    (500, "timeout_exception", "", Outcome.RETRY),
    (502, "", "", Outcome.UNKNOWN),
    (503, "", "", Outcome.UNKNOWN),
    (504, "", "", Outcome.UNKNOWN),
    (429, "", "", Outcome.UNKNOWN),
    (301, "", "", Outcome.UNKNOWN),
]


def answer(*items: dict[str, object], errors: bool = True) -> bytes:
    """A bulk answer with these items, as compact as the server writes it."""
    value = {"errors": errors, "took": 1, "items": items}
    return json.dumps(value, separators=(",", ":")).encode()


def item(
    status: int, kind: str = "", reason: str = "", operation: str = "index"
) -> dict[str, object]:
    """One item of an answer."""
    value: dict[str, object] = {"status": status}
    if kind:
        value["error"] = {"type": kind, "reason": reason}
    return {operation: value}


@pytest.mark.parametrize(("status", "kind", "reason", "operation", "outcome"), ITEMS)
def test_A16_what_an_action_s_answer_means(
    status: int, kind: str, reason: str, operation: str, outcome: Outcome
) -> None:
    """The table of errors for actions, row by row."""
    assert item_outcome(status, kind, reason, operation) is outcome


@pytest.mark.parametrize(("status", "kind", "reason", "outcome"), REQUESTS)
def test_A16_what_a_request_s_answer_means(
    status: int, kind: str, reason: str, outcome: Outcome
) -> None:
    """The table of errors for requests, row by row."""
    assert request_outcome(status, kind, reason) is outcome


def test_every_case_is_tried() -> None:
    """No row of a table is without an example, and none hides another."""
    items = {next(c for c in ITEM_CASES if c.fits(*row[:4])) for row in ITEMS}
    requests = {next(c for c in REQUEST_CASES if c.fits(*row[:3])) for row in REQUESTS}
    assert items == set(ITEM_CASES)
    assert requests == set(REQUEST_CASES)


def test_a_clean_answer_has_no_refusals() -> None:
    """Only counted, not parsed: even items that are no items pass."""
    assert refusals(answer(item(200), item(404, operation="delete"), errors=False), 2) == ()
    assert refusals(b'{"took":3,"errors":false,"items":[{"status":,"status":x]}', 2) == ()


def test_refusals_keep_their_places() -> None:
    """What is done is left out, the rest is told with its place."""
    conflict, rejected = item(409, CONFLICT, "current version [9]"), item(429, REJECTED)
    body = answer(item(200), conflict, item(200), rejected)
    found = refusals(body, 4)
    assert [(r.place, r.outcome) for r in found] == [(1, Outcome.CONFLICT), (3, Outcome.RETRY)]
    assert [r.current_version for r in found] == [9, 0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"{}",
        b"[]",
        b"null",
        b'{"items":null}',
        b'{"items":[1,2]}',
        b'{"items":[{},{}]}',
        b'{"items":[{"index":{}},{"index":{}}]}',
        b'{"errors":false,"took":1,"items":[{"index":{"status":200}}]}',
        b'{"errors":false,"took":1,"items":[{"index":{"status":200}},{"index":{"status":20',
        answer(item(200)),
        answer(item(200), item(200), item(200)),
        answer(item(200), item(429, REJECTED))[:-10],
    ],
)
def test_an_answer_that_is_no_full_answer_is_not_believed(body: bytes) -> None:
    """Truncated, of another server, or with too few or too many items: nobody knows."""
    with pytest.raises(AnswerError):
        refusals(body, 2)


def test_reasons_tell_the_cause_and_stay_short() -> None:
    """The cause is part of the reason; a very long one is cut."""
    cause = {"type": "number_format_exception", "reason": "For input string"}
    error = {"type": "mapper_parsing_exception", "reason": "failed", "caused_by": cause}
    (found,) = refusals(answer({"index": {"status": 400, "error": error}}), 1)
    assert found.reason == (
        "400 mapper_parsing_exception: failed; caused by number_format_exception: For input string"
    )
    error["reason"] = "x" * 10_000
    (found,) = refusals(answer({"index": {"status": 400, "error": error}}), 1)
    assert len(found.reason) < 1100


def test_errors_of_requests_are_read() -> None:
    """Type and reason if the sink tells them, else nothing."""
    assert error_of(b'{"error":{"type":"a","reason":"b"},"status":400}') == ("a", "b")
    assert error_of(b'{"error":"plain","status":405}') == ("", "plain")
    for body in (b"", b"<html>", b"[]", b"{}", b'{"error":null}', b'"x"'):
        assert error_of(body)[0] == ""


def test_a_body_is_split_at_its_actions() -> None:
    """Documents that look like actions are documents, deletes have none."""
    lines = [
        b"\n".join([b'{"index":{"_id":"1","version":5}}', b'{"delete":{"_id":"9"}}', b""]),
        b'{"delete":{"_id":"2","version":5,"version_type":"external_gte"}}\n',
        b'{"index":{"_id":"a\\"b","version":5,"version_type":"external_gte"}}\n{"n":"\xc3\xa9"}\n',
    ]
    assert list(actions_of(b"".join(lines))) == [
        Action("index", "1", lines[0]),
        Action("delete", "2", lines[1]),
        Action("index", 'a"b', lines[2]),
    ]
    assert list(actions_of(b"")) == []
    with pytest.raises(ValueError, match="no document"):
        list(actions_of(lines[0].split(b"\n")[0]))


def shown(cases: Sequence[Case], with_operation: bool) -> list[str]:
    """The rows of a table as the documentation shows them."""
    rows = []
    for case in cases:
        if isinstance(case.statuses, range):
            status = f"{case.statuses[0]}-{case.statuses[-1]}"
        else:
            status = ", ".join(map(str, case.statuses)) or "any"  # type: ignore[call-overload]
        if with_operation and case.operation:
            status += f", of a {case.operation}"
        kinds = {(): "any", ("",): "none", ("*",): "any that is named"}
        kind = kinds.get(case.types, ", ".join(f"`{name}`" for name in case.types))
        if case.reason:
            kind += f" with \"{case.reason}\""
        rows.append(f"| {status} | {kind} | {case.outcome.name} | {case.why} |")
    return rows


def test_the_documentation_shows_these_tables() -> None:
    """docs/sink-errors.md has each row of both tables, in order."""
    text = (Path(__file__).parents[2] / "docs" / "sink-errors.md").read_text()
    assert "\n".join(shown(ITEM_CASES, True)) in text
    assert "\n".join(shown(REQUEST_CASES, False)) in text


def test_doctests() -> None:
    """The examples in the module are right."""
    assert doctest.testmod(bulk).failed == 0
