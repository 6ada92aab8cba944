"""Schemathesis asks whatever the OpenAPI document allows and forbids: no fault, no answer that is not in it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12  # of each operation and mode
# whatever is said to them
NEVER_WRONG = ("GET /health", "GET /ready", "GET /metrics", "GET /items/{id}", "GET /map")


@pytest.mark.filterwarnings("ignore")
def test_no_fault_and_no_answer_that_is_not_in_the_document(start_server, tiny_runs):
    server = start_server(tiny_runs["default"])
    server.wait_until_warm()  # until then an answer may take longer than this client waits
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.label for operation in operations} == {
        *("GET /recommend", "POST /recommend", "GET /similar", "GET /explain", "POST /feedback"),
        *("GET /users", "GET /history", "GET /items", "GET /items/{id}/{kind}", "GET /candidates", "GET /training"),
        *("POST /admin/run", *NEVER_WRONG),
    }
    asked = []
    for operation in operations:
        for mode in [GenerationMode.POSITIVE] + [GenerationMode.NEGATIVE] * (operation.label not in NEVER_WRONG):

            @settings(
                max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=HealthCheck
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case):
                asked.append(case.call_and_validate(checks=CHECKS).status_code)

            ask()
    assert {200, 422, 403} <= set(asked) and len(asked) > 100
