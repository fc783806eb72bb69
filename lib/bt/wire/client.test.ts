/** @module WebTorrent has the private members that are used, and opens nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMetainfo } from "../metainfo.ts";
import { testBlob } from "../testing/blobs.ts";
import { WireClient } from "./client.ts";

const blob = testBlob(100_000, { pieceLength: 16 * 1024 });

test("a torrent has the pieces it is told, unread; the client listens nowhere", async () => {
  const client = await WireClient.load({ peerId: new Uint8Array(20), port: 7, onError: assert.fail });
  try {
    const torrent = await client.open(encodeMetainfo(blob.metainfo), { pieceLength: 16 * 1024, held: () => [1, 4] });
    const { bitfield, client: inner } = torrent as unknown as {
      bitfield: { get(piece: number): boolean };
      client: { _connPool: { tcpServer: { listening: boolean } }; dht: unknown; utp: boolean };
    };
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5, 6].filter((piece) => bitfield.get(piece)),
      [1, 4],
    );
    torrent._markVerified(0);
    assert.equal(bitfield.get(0), true);
    assert.ok(torrent._peers instanceof Map);
    assert.equal(inner._connPool.tcpServer.listening, false);
    assert.equal(inner.dht, false);
    assert.equal(inner.utp, false);
  } finally {
    await client.close();
  }
});

test("rubbish is no torrent", async () => {
  const client = await WireClient.load({ peerId: new Uint8Array(20), port: 7, onError: assert.fail });
  try {
    await assert.rejects(client.open(new TextEncoder().encode("d4:infode"), { pieceLength: 1, held: () => [] }));
  } finally {
    await client.close();
  }
});
