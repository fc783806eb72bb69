/**
 * @module
 * Events and errors over the wire and back.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { fromConnectError, MetaInfoError, toConnectError } from "./errors.ts";
import { fromMessage, toMessage } from "./events.ts";
import { MetaInfoEventSchema } from "./gen/metainfo/metainfo_pb.ts";
import type { BlobEvent } from "./meta-info.ts";

function overTheWire(event: BlobEvent): BlobEvent | undefined {
  const bytes = toBinary(MetaInfoEventSchema, create(MetaInfoEventSchema, toMessage(event)));
  return fromMessage(fromBinary(MetaInfoEventSchema, bytes));
}

test("every event survives the wire", () => {
  const bytes = new Uint8Array([1, 2, 3]);
  const events: BlobEvent[] = [
    { type: "blob", digest: "sha256:ab", size: 2 ** 45, pieceLength: 4 * 2 ** 20 },
    { type: "blob", digest: "sha256:ab", size: 3, pieceLength: 2 ** 19, inline: bytes },
    { type: "hashes", firstIndex: 7, sha1s: new Uint8Array(40).fill(9) },
    { type: "progress", bytes: 0 },
    { type: "metainfo", metainfo: bytes },
  ];
  for (const event of events) assert.deepEqual(overTheWire(event), event);
});

test("an event of a later version is passed over", () => {
  assert.equal(fromMessage(create(MetaInfoEventSchema, {})), undefined);
});

test("malformed events are refused", () => {
  const bad: BlobEvent[] = [
    { type: "hashes", firstIndex: 0, sha1s: new Uint8Array(19) },
    { type: "blob", digest: "sha256:ab", size: 4, pieceLength: 2 ** 19, inline: new Uint8Array(3) },
    { type: "blob", digest: "sha256:ab", size: 4, pieceLength: 0 },
  ];
  for (const event of bad) assert.throws(() => overTheWire(event), { name: "MetaInfoError", code: "internal" });
  const event = { case: "progress", value: { bytes: 2n ** 63n } } as const;
  assert.throws(() => fromMessage(create(MetaInfoEventSchema, { event })), { code: "internal" });
});

test("what nobody said is an unreachable seeder; what a seeder said is its word", () => {
  const broken = fromConnectError(new ConnectError("reset", Code.ResourceExhausted), "s:1");
  assert.deepEqual([broken.error.code, broken.spoken, broken.final], ["unavailable", false, false]);
  const gateway = fromConnectError(new ConnectError("HTTP 404", Code.Unimplemented, { server: "nginx" }), "s:1");
  assert.deepEqual([gateway.error.code, gateway.spoken], ["unavailable", false]);
  const status = { "grpc-status": "5" };
  const answer = fromConnectError(new ConnectError("gone", Code.NotFound, status), "s:1");
  assert.deepEqual(
    [answer.error.code, answer.error.message, answer.spoken, answer.final],
    ["not_found", "gone", true, true],
  );
  const origin = fromConnectError(new ConnectError("origin is down", Code.Unavailable, status), "s:1");
  assert.deepEqual([origin.error.code, origin.spoken, origin.final], ["unavailable", true, false]);
  const old = fromConnectError(new ConnectError("no such method", Code.Unimplemented, status), "s:1");
  assert.deepEqual([old.error.code, old.spoken, old.final], ["internal", true, false]);
});

test("errors of a service: the code goes out, foreign text does not, a challenge cannot break the reply", () => {
  const challenge = 'Bearer realm="x"\r\nset-cookie: a=b\u{1F600}';
  const out = toConnectError(new MetaInfoError("unauthenticated", "no", { challenge }));
  assert.equal(out.code, Code.Unauthenticated);
  assert.equal(out.metadata.get("www-authenticate"), 'Bearer realm="x"set-cookie: a=b');
  assert.equal(toConnectError(new Error("secret")).rawMessage, "internal error");
});
