/**
 * @module
 * The circuit breaker: one outage however many fail, half-open probes, recovery.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  abandoned,
  admits,
  admitsEarly,
  answered,
  beginProbe,
  type EndpointState,
  failed,
  initialState,
} from "./endpoint-state.ts";

const backoff = { baseMs: 100, maxMs: 1000, jitter: 0.5 };
const fail = (state: EndpointState, generation: number, now = 0, random = 0) =>
  failed(state, generation, { now, random, backoff, refused: false });
const refuse = (state: EndpointState, generation: number, now: number) =>
  failed(state, generation, { now, random: 0, backoff, refused: true });

test("fifty calls that fail together are one outage", () => {
  let state = initialState;
  for (let call = 0; call < 50; call += 1) state = fail(state, 0, call);
  assert.deepEqual(state, { t: "down", generation: 1, outages: 1, retryAt: 100, refuses: false });
});

test("down: nobody, then one probe; its answer ends the outage", () => {
  const down = fail(initialState, 0);
  assert.equal(admits(down, 99), undefined);
  assert.equal(admits(down, 100), "probe");
  const probing = beginProbe(down);
  assert.equal(admits(probing, 1e9), undefined);
  assert.equal(answered(probing, 0), probing, "a late answer from before the outage does not end it");
  assert.equal(fail(probing, 0), probing, "nor does a late failure prolong it");
  const up = answered(probing, probing.generation);
  assert.equal(up.t, "up");
  assert.equal(admits(up, 0), "call");
  assert.equal(fail(up, probing.generation - 1), up);
});

test("each failed probe doubles the wait up to the maximum; jitter only shortens it", () => {
  let state = initialState;
  const waits: number[] = [];
  let now = 0;
  for (let outage = 0; outage < 6; outage += 1) {
    state = fail(state, state.generation, now);
    assert.ok(state.t === "down");
    waits.push(state.retryAt - now);
    now = state.retryAt;
    state = beginProbe(state);
  }
  assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
  const jittered = fail(initialState, 0, 0, 0.999);
  assert.ok(jittered.t === "down" && jittered.retryAt > 50 && jittered.retryAt < 51);
});

test("the wait begins anew after a recovery", () => {
  let state = beginProbe(fail(initialState, 0));
  state = beginProbe(fail(state, state.generation));
  state = answered(state, state.generation);
  state = fail(state, state.generation);
  assert.ok(state.t === "down" && state.outages === 1 && state.retryAt === 100);
});

test("an abandoned probe may be made anew at once; other abandoned calls say nothing", () => {
  const probing = beginProbe(fail(initialState, 0));
  const again = abandoned(probing, probing.generation);
  assert.equal(admits(again, 777), "probe");
  assert.equal(again.t === "down" && again.outages, 1);
  assert.equal(abandoned(initialState, 0), initialState);
});

test("one that refuses may be asked early; in vain, that leaves the wait as it is; not one that has fallen silent", () => {
  const down = refuse(initialState, 0, 0);
  assert.ok(admitsEarly(down));
  assert.equal(admits(down, 50), undefined, "others are asked before it");
  const early = beginProbe(down);
  assert.equal(admitsEarly(early), false, "one probe at a time");
  const again = refuse(early, early.generation, 50);
  assert.deepEqual(again, { ...down, generation: 3 });
  assert.deepEqual(abandoned(early, early.generation), { ...down, generation: 3 });
  const silent = fail(early, early.generation, 50);
  assert.deepEqual(silent, { t: "down", generation: 3, outages: 2, retryAt: 250, refuses: false });
  assert.equal(admitsEarly(silent), false);
  const due = beginProbe(again);
  const later = refuse(due, due.generation, 100);
  assert.ok(later.t === "down" && later.outages === 2 && later.retryAt === 300 && admitsEarly(later));
  assert.equal(answered(early, early.generation).t, "up");
  assert.equal(admitsEarly(initialState), false);
});
