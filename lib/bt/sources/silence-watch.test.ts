/** @module Tests of the one timer that bounds all waits for peers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/blobs.ts";
import { SilenceWatch, type Waiting } from "./silence-watch.ts";
import { Sweep } from "./sweep.ts";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("a sweep looks while there is something to look after, and as often as the most urgent needs", async () => {
  let looks = 0;
  let everyMs: number | undefined = 10;
  const sweep = new Sweep(() => {
    looks++;
    return everyMs;
  });
  sweep.run(60_000);
  sweep.run(10);
  sweep.run(60_000);
  await until(() => looks >= 3);
  everyMs = undefined;
  await sleep(30);
  const before = looks;
  await sleep(50);
  assert.equal(looks, before);
  everyMs = 60_000;
  sweep.run(10);
  await until(() => looks > before);
  const coarse = looks;
  await sleep(50);
  assert.equal(looks, coarse);
  everyMs = 10;
  sweep.run(10);
  await until(() => looks > coarse + 1);
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
    shortestMs: patienceMs,
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
