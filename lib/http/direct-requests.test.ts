import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { BodySource } from "./direct-body.ts";
import type { DirectAnswer, DirectRequest } from "./direct-requests.ts";
import { lend } from "./lent-chunk.ts";
import { rawConnection } from "./raw-connection.ts";
import { type ServeOptions, serve } from "./server.ts";

const get = (target: string, more = "") => `GET ${target} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;

/** A listener whose short way answers below /direct, and whose general way says so. */
function listen(
  answer: (request: DirectRequest) => Promise<DirectAnswer | undefined>,
  more: Partial<ServeOptions> = {},
) {
  return serve({
    host: "127.0.0.1",
    port: 0,
    direct: {
      headers: new Set(["range"]),
      answer: (request) => (request.target.startsWith("/direct") ? answer(request) : undefined),
    },
    fetch: (request) => new Response(`general ${new URL(request.url).pathname}`),
    ...more,
  });
}

/** A body of these chunks, and what became of it. */
function body(...chunks: (string | Error | Promise<never>)[]): BodySource & { cancelled: number; given: number } {
  const left = [...chunks];
  return {
    cancelled: 0,
    given: 0,
    async pull() {
      const chunk = await left.shift();
      if (chunk instanceof Error) throw chunk;
      return chunk === undefined ? undefined : lend(Buffer.from(chunk), () => this.given++);
    },
    cancel() {
      this.cancelled++;
    },
  };
}

const answerOf = (source: BodySource, length?: number): DirectAnswer => ({
  status: length === undefined ? 200 : 206,
  head: "x-way: direct\r\n",
  body: source,
  ...(length === undefined ? {} : { length }),
});

describe("the short way", () => {
  it("answers one request after the other, and gives lent chunks back", async () => {
    const bodies: ReturnType<typeof body>[] = [];
    await using listener = await listen(async ({ target, env, method }) => {
      assert.equal(method, "GET");
      assert.equal(env.target, target);
      assert.equal(env.remoteAddress, "127.0.0.1");
      bodies.push(body("one", "two"));
      return answerOf(bodies.at(-1)!, 6);
    });
    const client = rawConnection(listener.port, get("/direct/1"));
    const first = await client.until("onetwo");
    assert.match(first, /^HTTP\/1\.1 206 Partial Content\r\nx-way: direct\r\ncontent-length: 6\r\n\r\nonetwo$/);
    client.socket.write(get("/direct/2"));
    await client.until("onetwoHTTP/1.1 206 Partial Content\r\nx-way: direct\r\ncontent-length: 6\r\n\r\nonetwo");
    for (const { given, cancelled } of bodies) assert.deepEqual([given, cancelled], [2, 0]);
    client.socket.destroy();
  });

  it("sends a body of unknown length in chunks", async () => {
    await using listener = await listen(async () => answerOf(body("abc", "d".repeat(20))));
    const client = rawConnection(listener.port, get("/direct"));
    const text = await client.until("0\r\n\r\n");
    assert.ok(
      text.endsWith(`transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n14\r\n${"d".repeat(20)}\r\n0\r\n\r\n`),
      text,
    );
    client.socket.destroy();
  });

  it("answers without a body", async () => {
    await using listener = await listen(async () => ({ status: 204, head: "" }));
    const client = rawConnection(listener.port, get("/direct"));
    await client.until("HTTP/1.1 204 No Content\r\n\r\n");
    client.socket.destroy();
  });

  it("hands a connection over with the first request that is not for it, at the beginning and later", async () => {
    await using listener = await listen(async () => answerOf(body("x"), 1));
    const plain = rawConnection(listener.port, get("/other"));
    await plain.until("general /other");
    const later = rawConnection(listener.port, get("/direct"));
    await later.until("\r\n\r\nx");
    later.socket.write(get("/other"));
    await later.until("general /other");
    // The general way keeps it, and answers whatever comes.
    later.socket.write(get("/again", "Accept: */*\r\n"));
    await later.until("general /again");
    plain.socket.destroy();
    later.socket.destroy();
  });

  it("hands over what its route declines only after a look", async () => {
    await using listener = await listen(async () => {
      await sleep(5);
      return undefined;
    });
    const client = rawConnection(listener.port, get("/direct/declined"));
    await client.until("general /direct/declined");
    client.socket.destroy();
  });

  it("hands over a request that comes in two halves", async () => {
    await using listener = await listen(async () => answerOf(body("x"), 1));
    const client = rawConnection(listener.port, get("/direct/halves").slice(0, 20));
    // By the time others were answered the first half has been read.
    for (let round = 0; round < 3; round++) {
      const other = rawConnection(listener.port, get("/other"));
      await other.until("general /other");
      other.socket.destroy();
    }
    client.socket.write(get("/direct/halves").slice(20));
    await client.until("general /direct/halves");
    client.socket.destroy();
  });

  it("answers requests sent at once in their order", async () => {
    await using listener = await listen(async ({ target }) => {
      await sleep(20);
      return answerOf(body(target), target.length);
    });
    const client = rawConnection(listener.port, get("/direct/1"));
    await sleep(5);
    client.socket.write(get("/direct/2"));
    await client.until("/direct/2");
    assert.ok(client.received.indexOf("/direct/1") < client.received.indexOf("/direct/2"));
    client.socket.write(get("/direct/3") + get("/direct/4"));
    // Two in one piece are for the general way.
    await client.until("general /direct/4");
    client.socket.destroy();
  });

  for (const [what, source] of [
    ["fails", () => body("abc", new Error("disk"))],
    ["ends early", () => body("abc")],
    ["is too long", () => body("abc", "defg")],
  ] as const) {
    it(`resets the connection when a body ${what}`, async () => {
      await using listener = await listen(async () => answerOf(source(), 6));
      const client = rawConnection(listener.port, get("/direct"));
      assert.notEqual(await client.closed, "end");
    });
  }

  it("cancels a body whose client leaves", async () => {
    const source = body("abc", new Promise<never>(() => {}));
    let signal: AbortSignal | undefined;
    await using listener = await listen(async (request) => {
      signal = request.signal;
      return answerOf(source, 6);
    });
    const client = rawConnection(listener.port, get("/direct"));
    await client.until("abc");
    client.socket.destroy();
    await client.closed;
    while (source.cancelled === 0) await sleep(5);
    assert.equal(source.cancelled, 1);
    assert.equal(signal?.aborted, true);
  });

  it("closes connections that nobody uses, and those whose client takes nothing", async () => {
    await using listener = await listen(
      async ({ target }) => {
        const large = "x".repeat(16 * 1024 * 1024);
        return target.endsWith("large") ? answerOf(body(large), large.length) : answerOf(body("x"), 1);
      },
      { idleTimeoutMs: 50, sendTimeoutMs: 100 },
    );
    const idle = rawConnection(listener.port, get("/direct"));
    assert.equal(await idle.closed, "end");
    const slow = rawConnection(listener.port, get("/direct/large"));
    slow.socket.pause();
    await sleep(400);
    slow.socket.resume();
    assert.equal(await slow.closed, "reset");
  });

  it("waits for a handler that is long in coming", async () => {
    await using listener = await listen(
      async () => {
        await sleep(300);
        return answerOf(body("late"), 4);
      },
      { idleTimeoutMs: 40, sendTimeoutMs: 40 },
    );
    const client = rawConnection(listener.port, get("/direct"));
    await client.until("late");
    client.socket.destroy();
  });

  it("lets what runs finish when the listener closes, and says so", async () => {
    const listener = await listen(async () => {
      await sleep(100);
      return answerOf(body("last"), 4);
    });
    const idle = rawConnection(listener.port, get("/other"));
    await idle.until("general");
    const busy = rawConnection(listener.port, get("/direct"));
    await sleep(30);
    await listener.close({ graceMs: 5000 });
    assert.match(await busy.until("last"), /connection: close\r\n/);
    assert.equal(await busy.closed, "end");
  });
});
