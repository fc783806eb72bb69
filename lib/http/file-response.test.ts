/**
 * @module
 * Tests of range responses: statuses, headers, bytes, and that nothing is opened in vain.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { rangeResponse } from "./file-response.ts";

const DATA = new TextEncoder().encode("0123456789");

interface Call {
  method?: string;
  headers?: Record<string, string>;
  etag?: string | undefined;
}

function call({ method = "GET", headers = {}, etag = "abc" }: Call = {}, withEtag = true) {
  const opened: [number, number][] = [];
  const response = rangeResponse(new Request("http://h/x", { method, headers }), {
    size: DATA.length,
    ...(withEtag ? { etag } : {}),
    contentType: "application/octet-stream",
    headers: { "x-more": "1" },
    open(start, end) {
      opened.push([start, end]);
      return new ReadableStream({
        start(controller) {
          controller.enqueue(DATA.slice(start, end));
          controller.close();
        },
      });
    },
  });
  return { response, opened };
}

test("GET of the whole", async () => {
  const { response, opened } = call();
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-length"), "10");
  assert.equal(response.headers.get("accept-ranges"), "bytes");
  assert.equal(response.headers.get("etag"), '"abc"');
  assert.equal(response.headers.get("content-type"), "application/octet-stream");
  assert.equal(response.headers.get("x-more"), "1");
  assert.equal(await response.text(), "0123456789");
  assert.deepEqual(opened, [[0, 10]]);
});

test("GET of a range", async () => {
  const { response, opened } = call({ headers: { range: "bytes=2-4" } });
  assert.equal(response.status, 206);
  assert.equal(response.headers.get("content-range"), "bytes 2-4/10");
  assert.equal(response.headers.get("content-length"), "3");
  assert.equal(await response.text(), "234");
  assert.deepEqual(opened, [[2, 5]]);
});

test("several ranges are answered with the whole", async () => {
  const { response } = call({ headers: { range: "bytes=0-1,4-5" } });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-range"), null);
  assert.equal(await response.text(), "0123456789");
});

test("a range beyond the end is 416 with the size", () => {
  const { response, opened } = call({ headers: { range: "bytes=10-" } });
  assert.equal(response.status, 416);
  assert.equal(response.headers.get("content-range"), "bytes */10");
  assert.equal(response.body, null);
  assert.deepEqual(opened, []);
});

test("HEAD has the headers of the whole, ignores Range and opens nothing", () => {
  const { response, opened } = call({ method: "HEAD", headers: { range: "bytes=2-4" } });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-length"), "10");
  assert.equal(response.body, null);
  assert.deepEqual(opened, []);
});

for (const [value, expected] of [
  ['"abc"', 304],
  ['W/"abc"', 304],
  ["*", 304],
  ['"x", "abc"', 304],
  ['"x"', 200],
] as const) {
  test(`If-None-Match: ${value} gives ${expected}`, () => {
    assert.equal(call({ headers: { "if-none-match": value } }).response.status, expected);
  });
}

test("304 wins over a range and opens nothing", () => {
  const { response, opened } = call({ headers: { "if-none-match": '"abc"', range: "bytes=99-" } });
  assert.equal(response.status, 304);
  assert.equal(response.headers.get("etag"), '"abc"');
  assert.deepEqual(opened, []);
});

for (const [value, expected] of [
  ['"abc"', 206],
  ['"other"', 200],
  ['W/"abc"', 200],
  ["Tue, 15 Nov 1994 12:45:26 GMT", 200],
] as const) {
  test(`If-Range: ${value} gives ${expected}`, () => {
    assert.equal(call({ headers: { "if-range": value, range: "bytes=1-2" } }).response.status, expected);
  });
}

test("without an etag If-Range never holds", () => {
  assert.equal(call({ headers: { "if-range": '"abc"', range: "bytes=1-2" } }, false).response.status, 200);
});

test("If-Match is compared strongly", () => {
  assert.equal(call({ headers: { "if-match": '"abc"' } }).response.status, 200);
  assert.equal(call({ headers: { "if-match": 'W/"abc"' } }).response.status, 412);
  assert.equal(call({ headers: { "if-match": '"x"' } }).response.status, 412);
});

test("other methods are refused", () => {
  const { response } = call({ method: "POST" });
  assert.equal(response.status, 405);
  assert.equal(response.headers.get("allow"), "GET, HEAD");
});

test("an etag with its quotes is kept", () => {
  assert.equal(call({ etag: '"q"' }).response.headers.get("etag"), '"q"');
});
