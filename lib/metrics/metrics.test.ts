/**
 * Tests of the metrics page.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "./metrics.ts";

test("every field shows on the page under an eagle_ name, with the app's label", async () => {
  const metrics = createMetrics("proxy");
  metrics.bytes.inc({ source: "peer", direction: "in" }, 512);
  metrics.requests.inc({ result: "ok" });
  metrics.cacheHits.inc();
  metrics.cacheMisses.inc();
  metrics.cacheBytes.set(7);
  metrics.cacheBlobs.set(1);
  metrics.activeDownloads.inc();
  metrics.announces.inc({ result: "ok" });
  metrics.originReads.inc({ result: "ok" });
  metrics.badPieces.inc({ kind: "peer" });
  metrics.timeToFirstByte.observe(0.02);
  const { contentType, body } = await metrics.render();
  assert.match(contentType, /^text\/plain/);
  assert.match(body, /^eagle_bytes_total\{(?=.*source="peer")(?=.*direction="in")(?=.*app="proxy").*\} 512$/m);
  for (const name of [
    "eagle_requests_total",
    "eagle_cache_hits_total",
    "eagle_cache_misses_total",
    "eagle_cache_bytes",
    "eagle_cache_blobs",
    "eagle_active_downloads",
    "eagle_announces_total",
    "eagle_origin_reads_total",
    "eagle_bad_pieces_total",
    "eagle_time_to_first_byte_seconds_bucket",
  ]) {
    assert.match(body, new RegExp(`^${name}\\{.*app="proxy".*\\} [1-9]`, "m"), name);
  }
});

test("process gauges have plausible values at each render", async () => {
  const metrics = createMetrics("tracker");
  await metrics.render();
  const { body } = await metrics.render();
  const value = (name: string) => Number(new RegExp(`^${name}\\{.*\\} (.+)$`, "m").exec(body)?.[1]);
  assert.ok(value("process_resident_memory_bytes") > 1e6);
  assert.ok(value("process_cpu_seconds_total") > 0);
  assert.ok(value("process_uptime_seconds") > 0);
});

test("two apps in one process do not share numbers", async () => {
  const a = createMetrics("proxy");
  const b = createMetrics("seeder");
  a.cacheHits.inc(3);
  assert.match((await a.render()).body, /eagle_cache_hits_total\{app="proxy"\} 3/);
  assert.match((await b.render()).body, /eagle_cache_hits_total\{app="seeder"\} 0/);
});
