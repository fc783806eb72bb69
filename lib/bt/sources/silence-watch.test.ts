/** @module Tests of the one timer that bounds all waits for peers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/blobs.ts";
import { SilenceWatch, type Waiting } from "./silence-watch.ts";
import { Sweep } from "./sweep.ts";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("a sweep looks while there is something to look after, and as often as the most urgent needs", async () => {
  let looks = 0;
  let left = true;
  const sweep = new Sweep(() => {
    looks++;
    return left;
  });
  sweep.run(60_000);
  sweep.run(10);
  sweep.run(60_000);
  await until(() => looks >= 3);
  left = false;
  await sleep(30);
  const before = looks;
  await sleep(50);
  assert.equal(looks, before);
  left = true;
  sweep.run(10);
  await until(() => looks > before);
  sweep.stop();
  const after = looks;
  await sleep(50);
  assert.equal(looks, after);
});

test("who is heard is not silent; who is not heard is told of, in time", async () => {
  const watch = new SilenceWatch();
  const begin = performance.now();
  const waiting = (patienceMs: number): Waiting & { at: number } => ({
    patienceMs,
    heard: false,
    since: 0,
    at: 0,
    onSilence() {
      this.at ||= performance.now() - begin;
      watch.delete(this);
    },
  });
  const [silent, patient, lively] = [waiting(60), waiting(60_000), waiting(150)];
  for (const each of [silent, patient, lively]) watch.add(each);
  for (let turn = 0; turn < 20; turn++) {
    lively.heard = true;
    await sleep(10);
  }
  assert.ok(silent.at >= 60 && silent.at < 1000, String(silent.at));
  assert.deepEqual([patient.at, lively.at], [0, 0]);
  await until(() => lively.at > 0);
  watch.delete(patient);
});
