/**
 * @module
 * The service as foreign clients see it: gRPC, gRPC-Web, Connect JSON and binary, POST and GET, HTTP/1.1 and h2c.
 */
import assert from "node:assert/strict";
import { connect as connectTcp } from "node:net";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { serve } from "../http/server.ts";
import { MetaInfoError } from "./errors.ts";
import { MetaInfo, MetaInfoReplySchema, MetaInfoRequestSchema } from "./gen/metainfo/metainfo_pb.ts";
import { metaInfoHandler } from "./handler.ts";
import { MAX_REQUEST_BYTES, type MetaInfoQuery, type MetaInfoService } from "./meta-info.ts";
import { answeringService, failingService, startSeeder, testEvents, testUrl } from "./testing/seeders.ts";

const metainfo = new TextEncoder().encode("d4:infod6:lengthi600000eee");
const challenge = 'Bearer realm="https://auth.example/token",service="registry.example"';
const path = "/metainfo.MetaInfo/GetMetaInfo";

interface GrpcMetaInfo extends grpc.Client {
  GetMetaInfo(
    request: { url: string },
    metadata: grpc.Metadata,
    done: (error: grpc.ServiceError | null, reply?: { metainfo: Uint8Array }) => void,
  ): grpc.ClientUnaryCall;
  StreamMetaInfo(request: { url: string }, metadata: grpc.Metadata): grpc.ClientReadableStream<{ event: string }>;
}

function grpcClient(server: Reachable): GrpcMetaInfo {
  const proto = fileURLToPath(new URL("../../proto/metainfo/metainfo.proto", import.meta.url));
  const loaded = grpc.loadPackageDefinition(loadSync(proto, { longs: Number, oneofs: true }));
  const { MetaInfo: Stub } = loaded.metainfo as unknown as { MetaInfo: grpc.ServiceClientConstructor };
  return new Stub(`127.0.0.1:${server.port}`, grpc.credentials.createInsecure()) as unknown as GrpcMetaInfo;
}

function grpcUnary(client: GrpcMetaInfo, url: string, metadata = new grpc.Metadata()): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    client.GetMetaInfo({ url }, metadata, (error, reply) => (error ? reject(error) : resolve(reply!.metainfo)));
  });
}

/** A fetch of the unary method; the connection is not kept, so that the server can be ended. */
async function unary(server: Reachable, init: { type: string; body: BodyInit }): Promise<Response> {
  return await fetch(new URL(path, server.url), {
    method: "POST",
    headers: { "content-type": init.type, "eagle-authorization": "Basic abc", connection: "close" },
    body: init.body,
  });
}

interface Reachable {
  url: URL;
  port: number;
}

/** A server for HTTP/1.1 and one for h2c; or Eagle's listener, which is both. */
const hosts: Record<
  string,
  (service: MetaInfoService) => Promise<{ h1: Reachable; h2: Reachable; end(): Promise<void> }>
> = {
  async "node:http and node:http2"(service) {
    const h1 = await startSeeder(service, { http: 1 });
    const h2 = await startSeeder(service, { http: 2 });
    return {
      h1,
      h2,
      async end() {
        await h1.kill();
        await h2.kill();
      },
    };
  },
  async "one port of lib/http"(service) {
    const fetch = () => new Response(null, { status: 404 });
    const listener = await serve({ host: "127.0.0.1", port: 0, fetch, node: metaInfoHandler(service) });
    const both = { url: new URL(listener.url), port: listener.port };
    return { h1: both, h2: both, end: () => listener.close({ graceMs: 0 }) };
  },
};

for (const [host, start] of Object.entries(hosts))
  describe(`answers on ${host}`, () => {
    const service = answeringService(metainfo);
    let h1: Reachable;
    let h2: Reachable;
    let end: () => Promise<void>;
    before(async () => {
      ({ h1, h2, end } = await start(service));
    });
    after(async () => {
      await end();
    });

    function lastQuery(): MetaInfoQuery {
      return service.queries.at(-1)!;
    }

    test("gRPC by grpc-js: unary, stream, eagle-authorization", async () => {
      const client = grpcClient(h2);
      try {
        const metadata = new grpc.Metadata();
        metadata.set("eagle-authorization", "Bearer secret");
        assert.deepEqual(new Uint8Array(await grpcUnary(client, testUrl, metadata)), metainfo);
        assert.equal(lastQuery().url, testUrl);
        assert.equal(lastQuery().authorization, "Bearer secret");
        const kinds: string[] = [];
        for await (const message of client.StreamMetaInfo({ url: testUrl }, metadata)) kinds.push(message.event);
        assert.deepEqual(kinds, ["blob", "hashes", "progress", "hashes", "reply"]);
      } finally {
        client.close();
      }
    });

    test("Connect JSON by POST", async () => {
      const response = await unary(h1, { type: "application/json", body: JSON.stringify({ url: testUrl }) });
      assert.equal(response.status, 200);
      const { metainfo: base64 } = (await response.json()) as { metainfo: string };
      assert.deepEqual(new Uint8Array(Buffer.from(base64, "base64")), metainfo);
      assert.equal(lastQuery().authorization, "Basic abc");
    });

    test("Connect JSON by GET", async () => {
      const url = new URL(path, h1.url);
      url.search = new URLSearchParams({
        connect: "v1",
        encoding: "json",
        message: JSON.stringify({ url: testUrl }),
      }).toString();
      const response = await fetch(url, { headers: { connection: "close" } });
      assert.equal(response.status, 200);
      const { metainfo: base64 } = (await response.json()) as { metainfo: string };
      assert.deepEqual(new Uint8Array(Buffer.from(base64, "base64")), metainfo);
      assert.equal(lastQuery().url, testUrl);
      assert.equal(lastQuery().authorization, undefined);
    });

    test("Connect binary by POST", async () => {
      const body = toBinary(MetaInfoRequestSchema, { $typeName: "metainfo.MetaInfoRequest", url: testUrl });
      const response = await unary(h1, { type: "application/proto", body: new Uint8Array(body) });
      assert.equal(response.status, 200);
      const reply = fromBinary(MetaInfoReplySchema, new Uint8Array(await response.arrayBuffer()));
      assert.deepEqual(new Uint8Array(reply.metainfo), metainfo);
    });

    test("gRPC-Web by plain fetch", async () => {
      const message = toBinary(MetaInfoRequestSchema, { $typeName: "metainfo.MetaInfoRequest", url: testUrl });
      const response = await unary(h1, { type: "application/grpc-web+proto", body: new Uint8Array(envelope(message)) });
      assert.equal(response.status, 200);
      const [data, trailer] = envelopes(new Uint8Array(await response.arrayBuffer()));
      assert.deepEqual(new Uint8Array(fromBinary(MetaInfoReplySchema, data!.bytes).metainfo), metainfo);
      assert.equal(trailer!.flags, 0x80);
      assert.match(new TextDecoder().decode(trailer!.bytes), /grpc-status: ?0/i);
    });

    test("streams by every protocol of connect-node, HTTP/1.1 and h2c", async () => {
      const h1Options = { baseUrl: h1.url.origin, httpVersion: "1.1", nodeOptions: { agent: false } } as const;
      const transports = [
        createGrpcWebTransport(h1Options),
        createConnectTransport({ ...h1Options, useBinaryFormat: true }),
        createConnectTransport({ ...h1Options, useBinaryFormat: false, useHttpGet: true }),
        createGrpcTransport({ baseUrl: h2.url.origin }),
        createConnectTransport({ baseUrl: h2.url.origin, httpVersion: "2" }),
      ];
      for (const transport of transports) {
        const client = createClient(MetaInfo, transport);
        assert.deepEqual(new Uint8Array((await client.getMetaInfo({ url: testUrl })).metainfo), metainfo);
        const kinds: (string | undefined)[] = [];
        for await (const { event } of client.streamMetaInfo({ url: testUrl })) kinds.push(event.case);
        assert.deepEqual(kinds, ["blob", "hashes", "progress", "hashes", "reply"]);
      }
    });

    test("a request message over 64 KiB is refused, compressed or not", async () => {
      const asked = service.queries.length;
      const url = "x".repeat(MAX_REQUEST_BYTES);
      const response = await unary(h1, { type: "application/json", body: JSON.stringify({ url }) });
      assert.equal(((await response.json()) as { code: string }).code, "resource_exhausted");
      const client = grpcClient(h2);
      try {
        await assert.rejects(grpcUnary(client, url), { code: grpc.status.RESOURCE_EXHAUSTED });
      } finally {
        client.close();
      }
      const gzip = new Response(
        new Blob([JSON.stringify({ url })]).stream().pipeThrough(new CompressionStream("gzip")),
      );
      const bomb = await fetch(new URL(path, h1.url), {
        method: "POST",
        headers: { "content-type": "application/json", "content-encoding": "gzip", connection: "close" },
        body: await gzip.arrayBuffer(),
      });
      assert.equal(((await bomb.json()) as { code: string }).code, "resource_exhausted");
      assert.equal(service.queries.length, asked);
    });

    test("other paths go to the next handler, and requests without a usable host are 400", async () => {
      const other = await fetch(new URL("/metainfo.MetaInfo/Other", h1.url), { headers: { connection: "close" } });
      assert.equal(other.status, 404);
      await other.body?.cancel();
      const head = `POST ${path} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
      assert.match(await rawExchange(h1.port, head), /^HTTP\/1\.[01] 400 /);
    });
  });

describe("errors", () => {
  const refused = new MetaInfoError("unauthenticated", "the origin wants a token", { challenge: `${challenge}\r\n` });

  test("code, message and the origin's challenge by gRPC and by Connect", async () => {
    const h1 = await startSeeder(failingService(refused), { http: 1 });
    const h2 = await startSeeder(failingService(refused), { http: 2 });
    const client = grpcClient(h2);
    try {
      const isRefusal = (error: grpc.ServiceError) => {
        assert.equal(error.code, grpc.status.UNAUTHENTICATED);
        assert.equal(error.details, "the origin wants a token");
        assert.deepEqual(error.metadata.get("www-authenticate"), [challenge]);
        return true;
      };
      await assert.rejects(grpcUnary(client, testUrl), isRefusal);
      await assert.rejects(async () => {
        for await (const _ of client.StreamMetaInfo({ url: testUrl }, new grpc.Metadata())) assert.fail();
      }, isRefusal);
      const response = await unary(h1, { type: "application/json", body: JSON.stringify({ url: testUrl }) });
      assert.equal(response.status, 401);
      assert.equal(response.headers.get("www-authenticate"), challenge);
      assert.deepEqual(await response.json(), { code: "unauthenticated", message: "the origin wants a token" });
    } finally {
      client.close();
      await h1.kill();
      await h2.kill();
    }
  });

  test("a defect's text stays inside and is logged", async () => {
    const lines: string[] = [];
    const log = {
      debug() {},
      info() {},
      warn() {},
      error: (message: string) => lines.push(message),
      child: () => log,
    };
    const server = await startSeeder(failingService(new TypeError("password hunter2")), { http: 1, log });
    try {
      const response = await unary(server, { type: "application/json", body: JSON.stringify({ url: testUrl }) });
      assert.deepEqual(await response.json(), { code: "internal", message: "internal error" });
      assert.deepEqual(lines, ["MetaInfo call failed"]);
    } finally {
      await server.kill();
    }
    const wrong = new MetaInfoError("internal", "the origin's bytes have another digest");
    const honest = await startSeeder(failingService(wrong), { http: 1, log });
    try {
      const response = await unary(honest, { type: "application/json", body: JSON.stringify({ url: testUrl }) });
      assert.deepEqual(await response.json(), { code: "internal", message: wrong.message });
      assert.equal(lines.length, 1, "an answer is no defect");
    } finally {
      await honest.kill();
    }
  });
});

describe("waiting", () => {
  test("a service slow to begin shows one sign of life; one that is not shows none", async () => {
    let begin: () => void = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const service: MetaInfoService = {
      getMetaInfo: async () => metainfo,
      async *streamMetaInfo() {
        await begun;
        yield* testEvents(metainfo);
      },
    };
    const server = await startSeeder(service, { signOfLifeMs: 5 });
    const client = grpcClient(server);
    try {
      const seen: unknown[] = [];
      for await (const message of client.StreamMetaInfo({ url: testUrl }, new grpc.Metadata())) {
        seen.push(message.event === "progress" ? message : message.event);
        begin();
      }
      assert.deepEqual(seen.slice(1), [
        "blob",
        "hashes",
        { progress: { bytes: 524_288 }, event: "progress" },
        "hashes",
        "reply",
      ]);
      assert.equal((seen[0] as { event: string }).event, "progress");
    } finally {
      client.close();
      await server.kill();
    }
  });

  for (const http of [1, 2] as const) {
    test(`the service learns that its asker has gone (HTTP/${http})`, async () => {
      let gone: () => void = () => {};
      const left = new Promise<void>((resolve) => {
        gone = resolve;
      });
      let asked = 0;
      const service: MetaInfoService = {
        getMetaInfo: () => new Promise(() => {}),
        async *streamMetaInfo({ signal }) {
          asked += 1;
          signal.addEventListener("abort", () => gone(), { once: true });
          yield { type: "progress", bytes: 0 };
          await new Promise(() => {}); // ignores the signal: the handler must not hang on that
        },
      };
      const server = await startSeeder(service, { http });
      const transport =
        http === 2
          ? createGrpcTransport({ baseUrl: server.url.origin })
          : createConnectTransport({ baseUrl: server.url.origin, httpVersion: "1.1", nodeOptions: { agent: false } });
      const controller = new AbortController();
      const call = createClient(MetaInfo, transport).streamMetaInfo({ url: testUrl }, { signal: controller.signal });
      await assert.rejects(async () => {
        for await (const _ of call) controller.abort();
      }, ConnectError);
      await left;
      assert.equal(asked, 1);
      await server.kill();
    });
  }

  test("a request message that never ends is cut off", async () => {
    const server = await startSeeder(answeringService(metainfo), { http: 1, requestTimeoutMs: 20 });
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{`;
    assert.equal(await rawExchange(server.port, head), "");
    await server.kill();
  });
});

function rawExchange(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connectTcp(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
  });
}

function envelope(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

function envelopes(bytes: Uint8Array): { flags: number; bytes: Uint8Array }[] {
  const found: { flags: number; bytes: Uint8Array }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = new DataView(bytes.buffer).getUint32(at + 1);
    found.push({ flags: bytes[at]!, bytes: bytes.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return found;
}
