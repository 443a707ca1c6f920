// Makes the calls asked for on standard input with Huawei Cloud's SDK, and says on standard output what came of each.
//
// A question is a line such as {"call": "ListAsyncInvocations", "parameters": {"function_urn": "…", "limit": "10"}}, with
// the parameters under the names that they have on the wire and the body as "body". A call that FunctionGraph does not have
// goes to IAM. An answer is a line too: "status" and "fields", or "status", "code", "message" and "request_id" as the SDK's
// exception has them, or "threw" if the SDK itself failed.
"use strict";

// The SDK logs to standard output, which is for answers here.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

const readline = require("readline");
const core = require("@huaweicloud/huaweicloud-sdk-core");
const functiongraph = require("@huaweicloud/huaweicloud-sdk-functiongraph/v2/public-api");

const { SDK_ENDPOINT, SDK_PROJECT, SDK_AK, SDK_SK, SDK_SECURITY_TOKEN } = process.env;
const key = new core.BasicCredentials().withProjectId(SDK_PROJECT).withAk(SDK_AK).withSk(SDK_SK);
if (SDK_SECURITY_TOKEN) {
    key.withSecurityToken(SDK_SECURITY_TOKEN);
}
const client = (of) => of.newBuilder().withCredential(key).withEndpoint(SDK_ENDPOINT).build();
const functions = client(functiongraph.FunctionGraphClient);

// The SDK of IAM is large, and few tests need it. With a global credential it fills in no project, and signs a path that
// it does not send.
function identity() {
    const iam = require("@huaweicloud/huaweicloud-sdk-iam/v3/public-api");
    return [client(iam.IamClient), iam];
}

async function answer({ call, parameters }) {
    const method = call[0].toLowerCase() + call.slice(1);
    const [client, models] = functions[method] ? [functions, functiongraph] : identity();
    const request = Object.assign(new models[`${call}Request`](), parameters);
    try {
        const response = await client[method](request);
        const status = response.httpStatusCode;
        delete response.httpStatusCode;
        return { status, fields: Array.isArray(response) ? { body: response } : response };
    } catch (e) {
        if (e.httpStatusCode === undefined) {
            return { threw: String(e.errorMsg ?? e) };
        }
        const { httpStatusCode: status, errorCode: code, errorMsg: message, requestId: request_id } = e;
        return { status, code: code === undefined ? null : String(code), message, request_id: request_id ?? null };
    }
}

(async () => {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        write(JSON.stringify(await answer(JSON.parse(line))) + "\n");
    }
})();
