/** @module Tests of what a seeder is told of its callers: parts of its cluster, or strangers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { clusterCa, partCertificate } from "../cluster/testing/certificates.ts";
import { serve } from "../http/server.ts";
import { MetaInfoClient } from "./client.ts";
import { metaInfoHandler } from "./handler.ts";
import type { MetaInfoQuery, MetaInfoService } from "./meta-info.ts";

const secret = "a secret of the cluster";
const url = `https://registry.example.com/v2/a/blobs/sha256:${"a".repeat(64)}`;
const metainfo = new Uint8Array([1, 2, 3]);

/** Runs with a seeder that notes what it is asked. */
async function withSeeder(
  cluster: ClusterAuth,
  run: (base: string, asked: MetaInfoQuery[]) => Promise<void>,
): Promise<void> {
  const asked: MetaInfoQuery[] = [];
  const service: MetaInfoService = {
    async getMetaInfo(query) {
      asked.push(query);
      return metainfo;
    },
    async *streamMetaInfo(query) {
      asked.push(query);
      yield { type: "metainfo", metainfo };
    },
  };
  const tls = cluster.serverTls();
  const listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: () => new Response(null, { status: 404 }),
    node: metaInfoHandler(service, { cluster }),
    ...(tls ? { tls } : {}),
  });
  try {
    await run(listener.url, asked);
  } finally {
    await listener.close({ graceMs: 0 });
  }
}

async function call(base: string, cluster: ClusterAuth | undefined, more: { asPart?: boolean } = {}): Promise<void> {
  const client = new MetaInfoClient({ seeders: [new URL(base)], ...(cluster ? { cluster } : {}) });
  try {
    assert.deepEqual(await client.getMetaInfo({ url, authorization: "Basic x", ...more }), metainfo);
  } finally {
    await client.close();
  }
}

test("a signed call is a part's, over gRPC", async () => {
  const cluster = new ClusterAuth({ secret });
  await withSeeder(cluster, async (base, asked) => {
    await call(base, cluster);
    await call(base, undefined);
    await call(base, new ClusterAuth({ secret: "another secret" }));
    await call(base, cluster, { asPart: false });
    assert.deepEqual(
      asked.map(({ isPart }) => isPart),
      [true, undefined, undefined, undefined],
    );
    assert.equal(asked[0]?.authorization, "Basic x");
  });
});

test("a signed call is a part's, over Connect, by POST and by GET, with its query", async () => {
  const cluster = new ClusterAuth({ secret });
  await withSeeder(cluster, async (base, asked) => {
    const post = new URL("/metainfo.MetaInfo/GetMetaInfo", base);
    const json = { "content-type": "application/json" };
    const body = JSON.stringify({ url });
    const headers = { ...json, ...cluster.headers("POST", post) };
    assert.equal((await fetch(post, { method: "POST", headers, body })).status, 200);
    const get = new URL(post);
    get.search = `?encoding=json&message=${encodeURIComponent(body)}`;
    assert.equal((await fetch(get, { headers: cluster.headers("GET", get) })).status, 200);
    assert.equal((await fetch(get, { headers: cluster.headers("GET", post) })).status, 200);
    assert.equal((await fetch(post, { method: "POST", headers: json, body })).status, 200);
    assert.deepEqual(
      asked.map(({ isPart }) => isPart),
      [true, true, undefined, undefined],
    );
  });
});

test("a call over a certified connection is a part's", async () => {
  const cluster = new ClusterAuth({ tls: { ca: clusterCa, own: partCertificate } });
  await withSeeder(cluster, async (base, asked) => {
    await call(base, cluster);
    await call(base, new ClusterAuth({ tls: { ca: clusterCa } }));
    await call(base, cluster, { asPart: false });
    assert.deepEqual(
      asked.map(({ isPart }) => isPart),
      [true, undefined, undefined],
    );
  });
});
