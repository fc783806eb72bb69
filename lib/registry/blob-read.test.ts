/**
 * Tests of blob-read.
 * @module
 */
import assert from "node:assert";
import type { IncomingMessage, ServerResponse } from "node:http";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import type { BlobRead } from "./blob-read.ts";
import { parseDigest } from "./digest.ts";
import { RegistryError, type RegistryErrorCode } from "./errors.ts";
import { OriginClient } from "./origin-client.ts";
import { collect, type FakeServer, fakeServer, patternBytes, serveBlob } from "./testing/fake-registry.ts";

const digest = parseDigest(`sha256:${"ab".repeat(32)}`);
const blob = patternBytes(600_000);
const failsWith = (code: RegistryErrorCode) => (error: unknown) =>
  error instanceof RegistryError && error.code === code;

type ReadOptions = {
  start?: number;
  end?: number;
  progressTimeoutMs?: number;
  firstStallMs?: number;
  signal?: AbortSignal;
};

/** Runs with a registry that answers its n-th request (from 0) by `answer`. */
async function withOrigin(
  answer: (req: IncomingMessage, res: ServerResponse, n: number) => unknown,
  run: (rig: { server: FakeServer; read: (options?: ReadOptions) => Promise<BlobRead> }) => Promise<void>,
): Promise<void> {
  let count = 0;
  const server = await fakeServer((req, res) => answer(req, res, count++));
  const http = new HttpClient();
  const client = new OriginClient({ http });
  const upstream = { name: server.authority, base: new URL(server.url) };
  const read = (options: ReadOptions = {}) =>
    client.readBlob(upstream, "a", digest, { caller: { kind: "anonymous" }, ...options });
  try {
    await run({ server, read });
  } finally {
    await http.close();
    await server.close();
  }
}

const same = (bytes: Uint8Array, start = 0, end = blob.length) => Buffer.from(blob.subarray(start, end)).equals(bytes);
const ranges = (server: FakeServer) => server.seen.map(({ headers }) => headers.range);

test("a whole blob and parts of it, from an origin with Range", async () => {
  await withOrigin(
    (req, res) => serveBlob(req, res, blob),
    async ({ server, read }) => {
      const whole = await read();
      assert.deepStrictEqual([whole.size, whole.ranged], [blob.length, true]);
      assert.ok(same(await collect(whole.body)));
      assert.ok(same(await collect((await read({ start: 1000, end: 70_000 })).body), 1000, 70_000));
      assert.ok(same(await collect((await read({ start: 599_999 })).body), 599_999));
      assert.ok(same(await collect((await read({ start: 500_000, end: 700_000 })).body), 500_000));
      assert.deepStrictEqual(ranges(server), ["bytes=0-", "bytes=1000-69999", "bytes=599999-", "bytes=500000-699999"]);
      assert.ok(server.seen.every(({ headers }) => headers["accept-encoding"] === "identity"));
      await assert.rejects(read({ start: 600_000 }), failsWith("range"));
      await assert.rejects(read({ start: 5, end: 5 }), RangeError);
    },
  );
});

test("an origin without Range: parts are cut out of the whole", async () => {
  for (const chunked of [false, true]) {
    await withOrigin(
      (req, res) => serveBlob(req, res, blob, { range: false, chunked }),
      async ({ read }) => {
        const whole = await read();
        assert.deepStrictEqual([whole.size, whole.ranged], [chunked ? undefined : blob.length, false]);
        assert.ok(same(await collect(whole.body)));
        assert.strictEqual(whole.size, blob.length);
        assert.ok(same(await collect((await read({ start: 1000, end: 70_000 })).body), 1000, 70_000));
        await assert.rejects(async () => collect((await read({ start: 700_000 })).body), failsWith("range"));
      },
    );
  }
});

test("cut bodies are continued where they ended", async () => {
  await withOrigin(
    (req, res, n) => serveBlob(req, res, blob, n < 4 ? { cutAfter: 100_000 } : {}),
    async ({ server, read }) => {
      assert.ok(same(await collect((await read()).body)));
      const starts = ranges(server).map((range) => Number(/\d+/.exec(range ?? "")?.[0]));
      assert.strictEqual(starts[0], 0);
      assert.ok(starts.length >= 5 && starts.every((start, i) => i === 0 || start >= (starts[i - 1] ?? 0)));
    },
  );
});

test("cut without Range: the rest is skipped to", async () => {
  await withOrigin(
    (req, res, n) => serveBlob(req, res, blob, { range: false, ...(n < 3 ? { cutAfter: 100_000 * (n + 1) } : {}) }),
    async ({ read }) => assert.ok(same(await collect((await read()).body))),
  );
  await withOrigin(
    (req, res, n) => serveBlob(req, res, blob, n === 0 ? { cutAfter: 123_456 } : { range: false }),
    async ({ read }) => assert.ok(same(await collect((await read({ start: 7, end: 599_999 })).body), 7, 599_999)),
  );
});

test("errors in between (5xx, resets, refusals) are waited out; a short 206 is continued", async () => {
  await withOrigin(
    (req, res, n) => {
      if (n === 0) serveBlob(req, res, blob, { cutAfter: 100_000 });
      else if (n === 1) res.writeHead(503).end();
      else if (n === 2) req.socket.destroy();
      else serveBlob(req, res, blob);
    },
    async ({ read }) => assert.ok(same(await collect((await read()).body))),
  );
  await withOrigin(
    (req, res) => {
      const start = Number(/\d+/.exec(req.headers.range ?? "")?.[0]);
      const end = Math.min(start + 100_000, blob.length);
      res.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/*`, "content-length": end - start });
      if (start < blob.length) res.end(blob.subarray(start, end));
    },
    async ({ read }) => assert.ok(same(await collect((await read({ end: blob.length })).body))),
  );
});

test("a stall is answered by asking anew, once; a second one ends the read", async () => {
  await withOrigin(
    (req, res, n) => serveBlob(req, res, blob, n === 0 ? { stallAfter: 100_000 } : {}),
    async ({ server, read }) => {
      assert.ok(same(await collect((await read({ progressTimeoutMs: 150 })).body)));
      assert.strictEqual(server.seen.length, 2);
    },
  );
  await withOrigin(
    (req, res) => serveBlob(req, res, blob, { stallAfter: 10 }),
    async ({ server, read }) => {
      const opened = await read({ progressTimeoutMs: 100 });
      await assert.rejects(collect(opened.body), failsWith("timeout"));
      assert.strictEqual(server.seen.length, 2);
    },
  );
  await withOrigin(
    () => {},
    async ({ read }) => assert.rejects(read({ progressTimeoutMs: 100 }), failsWith("timeout")),
  );
});

test("the first silence is short: before the head of an answer, or in its body", async () => {
  const options = { progressTimeoutMs: 5000, firstStallMs: 50 };
  await withOrigin(
    (req, res, n) => {
      if (n > 0) serveBlob(req, res, blob);
    },
    async ({ server, read }) => {
      const began = performance.now();
      assert.ok(same(await collect((await read(options)).body)));
      assert.ok(performance.now() - began < 2000);
      assert.equal(server.seen.length, 2);
    },
  );
  await withOrigin(
    (req, res, n) => serveBlob(req, res, blob, n === 0 ? { stallAfter: 100_000 } : {}),
    async ({ server, read }) => {
      const began = performance.now();
      assert.ok(same(await collect((await read(options)).body)));
      assert.ok(performance.now() - began < 2000);
      assert.equal(server.seen.length, 2);
    },
  );
  await withOrigin(
    () => {},
    async ({ server, read }) => {
      await assert.rejects(read({ progressTimeoutMs: 300, firstStallMs: 50 }), failsWith("timeout"));
      assert.equal(server.seen.length, 2, "not for ever");
    },
  );
});

test("slow is not stalled, and a slow reader is not the origin's fault", async () => {
  await withOrigin(
    async (_req, res) => {
      res.writeHead(206, { "content-range": "bytes 0-19/20", "content-length": 20 });
      for (let i = 0; i < 20; i++) {
        res.write(blob.subarray(i, i + 1));
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      res.end();
    },
    async ({ server, read }) => {
      assert.ok(same(await collect((await read({ progressTimeoutMs: 300 })).body), 0, 20));
      assert.strictEqual(server.seen.length, 1);
    },
  );
  await withOrigin(
    (req, res) => serveBlob(req, res, blob),
    async ({ server, read }) => {
      const { body } = await read({ progressTimeoutMs: 60 });
      let length = 0;
      for await (const chunk of body) {
        if (length === 0) await new Promise((resolve) => setTimeout(resolve, 200));
        length += chunk.length;
      }
      assert.deepStrictEqual([length, server.seen.length], [blob.length, 1]);
    },
  );
});

test("an origin that never gets anywhere is given up", async () => {
  await withOrigin(
    (req, res) => serveBlob(req, res, blob, { cutAfter: 1 }),
    async ({ server, read }) => {
      await assert.rejects(async () => collect((await read()).body), failsWith("unavailable"));
      assert.ok(server.seen.length <= 6);
    },
  );
});

test("what is final is not retried", async () => {
  const statuses: [number, RegistryErrorCode][] = [
    [404, "not_found"],
    [401, "unauthorized"],
    [403, "denied"],
    [400, "protocol"],
    [204, "protocol"],
    [304, "protocol"],
  ];
  for (const [status, code] of statuses) {
    await withOrigin(
      (_req, res) => res.writeHead(status, status === 401 ? { "www-authenticate": 'Basic realm="r"' } : {}).end(),
      async ({ server, read }) => {
        await assert.rejects(read(), (error) => {
          assert.ok(error instanceof RegistryError && error.code === code && error.status === status);
          assert.strictEqual(error.challenge, status === 401 ? 'Basic realm="r"' : undefined);
          return true;
        });
        assert.strictEqual(server.seen.length, 1);
      },
    );
  }
  await withOrigin(
    (req, res, n) => (n === 0 ? serveBlob(req, res, blob, { cutAfter: 100_000 }) : res.writeHead(404).end()),
    async ({ server, read }) => {
      await assert.rejects(async () => collect((await read()).body), failsWith("not_found"));
      assert.strictEqual(server.seen.length, 2);
    },
  );
});

test("a size that changes in the middle is an error", async () => {
  for (const range of [true, false]) {
    for (const claimedSize of [blob.length + 1, 50_000]) {
      await withOrigin(
        (req, res, n) =>
          n === 0
            ? serveBlob(req, res, blob, { range, cutAfter: 100_000 })
            : serveBlob(req, res, blob.subarray(0, Math.min(claimedSize, blob.length)), { range, claimedSize }),
        async ({ read }) => {
          const opened = await read();
          assert.strictEqual(opened.size, blob.length);
          await assert.rejects(collect(opened.body), failsWith("changed"));
        },
      );
    }
  }
});

test("Content-Range that does not fit the question is refused; too many bytes are cut", async () => {
  for (const header of ["bytes 5-9/10", "bytes */10", "nonsense", "bytes 0-9/5", undefined]) {
    await withOrigin(
      (_req, res) => {
        res.writeHead(206, header === undefined ? {} : { "content-range": header });
        res.end(blob.subarray(0, 10));
      },
      async ({ read }) => assert.rejects(read(), failsWith("protocol"), String(header)),
    );
  }
  await withOrigin(
    (_req, res) => {
      res.writeHead(206, { "content-range": "bytes 0-99/100" });
      res.write(blob.subarray(0, 60));
      res.end(blob.subarray(60, 5000));
    },
    async ({ read }) => {
      assert.ok(same(await collect((await read()).body), 0, 100));
      assert.ok(same(await collect((await read({ start: 10, end: 20 })).body), 10, 20));
    },
  );
});

test("416: an empty blob, or an origin at odds with Range", async () => {
  await withOrigin(
    (req, res) => serveBlob(req, res, new Uint8Array(0)),
    async ({ server, read }) => {
      const opened = await read();
      assert.deepStrictEqual([opened.size, (await collect(opened.body)).length, server.seen.length], [0, 0, 1]);
    },
  );
  for (const body of [blob, new Uint8Array(0)]) {
    await withOrigin(
      (req, res) =>
        req.headers.range === undefined ? serveBlob(req, res, body) : res.writeHead(416, { "content-length": 0 }).end(),
      async ({ read }) => {
        const opened = await read();
        assert.deepStrictEqual([opened.size, opened.ranged], [body.length, false]);
        assert.ok(same(await collect(opened.body), 0, body.length));
      },
    );
  }
});

test("leaving, closing and aborting end the request", async () => {
  let closed = 0;
  await withOrigin(
    (req, res) => {
      res.on("close", () => closed++);
      serveBlob(req, res, blob, { stallAfter: 100_000 });
    },
    async ({ read }) => {
      for await (const chunk of (await read()).body) {
        assert.ok(chunk.length > 0);
        break;
      }
      (await read()).close();
      const iterator = (await read()).body[Symbol.asyncIterator]();
      await iterator.return?.();
      const controller = new AbortController();
      const { body } = await read({ signal: controller.signal });
      const outcome = assert.rejects(collect(body), failsWith("aborted"));
      setTimeout(() => controller.abort(), 20);
      await outcome;
      await assert.rejects(read({ signal: controller.signal }), failsWith("aborted"));
      while (closed < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    },
  );
});
