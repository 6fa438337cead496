"""Calls a REST endpoint.

The request goes through `ctx.services.http`: the host makes it, so that it stands in the trace as a span
of its own, with its retries, and can be answered by a stub in a test.
"""

BODY_CHARACTERS_MAX = 1000
TIMEOUT_SECONDS = 30


def invoke(input_data, ctx):
    response = ctx.services.http.request(
        input_data.get("method", "GET"),
        input_data["url"],
        headers=input_data.get("headers", {}),
        timeout=TIMEOUT_SECONDS,
    )
    if response.status >= 400:
        ctx.log.warning("the endpoint answered with an error", status=response.status)

    # A status of 404 or 500 is an answer too: the caller judges it. A request that got no answer at all
    # has raised above, and the invocation fails.
    return {"status_code": response.status, "body": response.text[:BODY_CHARACTERS_MAX]}
