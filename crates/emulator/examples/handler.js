// A function for Node, as it runs in a container image: an HTTP server with /init and /invoke, and no packages.
"use strict";
const http = require("http");

// Your code.
function handle(event, requestId) {
    console.log("counting", Object.keys(event).length, "fields for", requestId);
    return { fields: Object.keys(event).sort() };
}

const server = http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
        const answer = (status, result) => {
            response.writeHead(status, { "Content-Type": "application/json" });
            response.end(JSON.stringify(result));
        };
        try {
            if (request.url === "/init") {
                console.log("initialized", request.headers["x-cff-func-name"]);
                answer(200, null);
            } else if (request.url === "/invoke") {
                answer(200, handle(JSON.parse(Buffer.concat(chunks)), request.headers["x-cff-request-id"]));
            } else {
                answer(404, { errorMessage: `no path ${request.url}` });
            }
        } catch (error) {
            console.error(error);
            answer(500, { errorMessage: error.message, stackTrace: error.stack.split("\n") });
        }
    });
});

// FunctionGraph expects port 8000.
server.listen(process.env.PORT ?? 8000, "127.0.0.1");
