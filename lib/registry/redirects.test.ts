/**
 * Tests of redirects.
 * @module
 */
import assert from "node:assert";
import { Readable } from "node:stream";
import { test } from "node:test";
import { HttpClientError, type HttpResponse } from "../http/client.ts";
import { type HttpSender, requestFollowing } from "./redirects.ts";

const ok = (): HttpResponse => ({ status: 200, headers: new Headers(), body: Readable.from([]) });

test("a private CA is used for its own host, and elsewhere only when the public ones do not do", async () => {
  const asked: string[] = [];
  const answers: Record<string, (ca: string | undefined) => HttpResponse> = {
    "https://reg.example/": () => ({
      status: 307,
      headers: new Headers({ location: "https://cdn.example/" }),
      body: Readable.from([]),
    }),
    "https://cdn.example/": () => ({ ...ok(), status: 308, headers: new Headers({ location: "https://in.example/" }) }),
    "https://in.example/": (ca) => {
      if (ca === undefined) throw new HttpClientError("connect", "certificate");
      return { ...ok(), status: 302, headers: new Headers({ location: "http://plain.example/" }) };
    },
    "http://plain.example/": ok,
  };
  const http: HttpSender = {
    request: async (url, init) => {
      asked.push(`${url.origin} ${init?.ca ?? "-"} ${init?.headers?.authorization ?? "-"}`);
      return answers[url.href]?.(init?.ca) ?? ok();
    },
  };
  const followed = await requestFollowing(http, new URL("https://reg.example/"), {
    method: "GET",
    headers: { authorization: "secret" },
    ca: "PEM",
    caHost: "reg.example",
    redirectLimit: 5,
  });
  assert.deepStrictEqual([followed.url.href, followed.foreign], ["http://plain.example/", true]);
  assert.deepStrictEqual(asked, [
    "https://reg.example PEM secret",
    "https://cdn.example - -",
    "https://in.example - -",
    "https://in.example PEM -",
    "http://plain.example - -",
  ]);
});

test("errors other than a failed connection are not tried again with another CA", async () => {
  let count = 0;
  const http: HttpSender = {
    request: async () => {
      count++;
      throw new HttpClientError("timeout", "late");
    },
  };
  const init = { method: "GET", headers: {}, ca: "PEM", caHost: "reg.example", redirectLimit: 5 };
  await assert.rejects(requestFollowing(http, new URL("https://cdn.example/"), init), HttpClientError);
  assert.strictEqual(count, 1);
});
