"""Makes the calls asked for on standard input with Huawei Cloud's SDK, and says on standard output what came of each.

A question is a line such as {"call": "ListAsyncInvocations", "parameters": {"function_urn": "...", "limit": "10"}}, with
the parameters under the names that they have on the wire and the body as "body". An answer is a line too: "status" and
"fields", or "status", "code", "message" and "request_id" as the SDK's exception has them.
"""

import functools
import json
import os
import re
import sys
from datetime import datetime

from huaweicloudsdkcore.auth import provider
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkfunctiongraph import v2


def credentials():
    """A key from the environment, or what one of the SDK's providers finds there."""
    if "SDK_PROVIDER" in os.environ:
        found = getattr(provider, os.environ["SDK_PROVIDER"]).get_basic().get_credentials()
    else:
        found = BasicCredentials(os.environ["SDK_AK"], os.environ["SDK_SK"])
    if "SDK_SECURITY_TOKEN" in os.environ:
        found = found.with_security_token(os.environ["SDK_SECURITY_TOKEN"])
    return found.with_project_id(os.environ["SDK_PROJECT"])


@functools.cache
def client():
    config = HttpConfig.get_default_config()
    config.ssl_ca_cert = os.environ["SDK_CA"]
    builder = v2.FunctionGraphClient.new_builder().with_http_config(config).with_credentials(credentials())
    return builder.with_endpoint(os.environ["SDK_ENDPOINT"]).build()


def build(kind, value):
    """A value of one of the SDK's types. A name that the SDK does not know is an error here."""
    if kind == "datetime":
        return datetime.fromisoformat(value)
    if not hasattr(v2, kind):
        return value
    model = getattr(v2, kind)
    attributes = {on_the_wire: attribute for attribute, on_the_wire in model.attribute_map.items()}
    named = {attributes[name]: content for name, content in value.items()}
    return model(**{name: build(model.openapi_types[name], content) for name, content in named.items()})


def answer(call, parameters):
    request = build(f"{call}Request", parameters)
    try:
        response = getattr(client(), re.sub(r"(?<!^)(?=[A-Z])", "_", call).lower())(request)
    except ServiceResponseException as e:
        return {"status": e.status_code, "code": e.error_code, "message": e.error_msg, "request_id": e.request_id}
    return {"status": response.status_code, "fields": json.loads(str(response))}


if __name__ == "__main__":
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(answer(question["call"], question["parameters"])), flush=True)
