"""Statements: what was used and paid in some days, to look at or to keep."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from apps.gateway.identity import Caller
from engine.flows import statements as flow

router = APIRouter(prefix="/statements", tags=["wallet"])
"""Below "/api", both at the gateway and at the pages' own origin."""

DAY = "A day such as 2026-01-31, UTC; it is included."
By = Annotated[str, Query(description="Any of tenant, project, person, model, day, separated by commas.")]
Tenant = Annotated[str, Query(description="For operators: a tenant's id, or `all`.")]


@router.get("")
def statement(
    caller: Caller,
    first: Annotated[str, Query(alias="from", description=DAY)],
    last: Annotated[str, Query(alias="to", description=DAY)],
    by: By = "day,model",
    format: str = "json",
    tenant: Tenant = "",
) -> Response:
    """Return sums of calls, tokens, charges and refunds, as `json`, `csv` or `parquet`.

    The charges without the refunds are what the ledger took from the wallet in the same days for calls;
    `trainings` in the `json` are what it took for the machine time of each training.
    """
    if format == "json":
        found = flow.statement(caller, first, last, by, tenant)
        rows = [{name: _plain(value) for name, value in row.items()} for row in found.rows]
        return JSONResponse(
            {
                "from": found.first.isoformat(),
                "to": found.last.isoformat(),
                "by": list(found.by),
                "rows": rows,
                "movements": found.movements,
                "trainings": [
                    {name: _plain(value) for name, value in row.items()} for row in found.trainings
                ],
                "opening_micro": found.opening_micro,
                "closing_micro": found.closing_micro,
            }
        )
    file = flow.document(caller, first, last, by, format, tenant)
    headers = {
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "Cache-Control": "private, no-store",
    }
    return Response(file.content, media_type=file.media, headers=headers)


def _plain(value: object) -> object:
    return value if isinstance(value, int | str) else str(value)
