/**
 * @module
 * The circuit breaker: one outage however many fail, half-open probes, recovery.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { abandoned, admits, answered, beginProbe, type EndpointState, failed, initialState } from "./endpoint-state.ts";

const backoff = { baseMs: 100, maxMs: 1000, jitter: 0.5 };
const fail = (state: EndpointState, generation: number, now = 0, random = 0) =>
  failed(state, generation, { now, random, backoff });

test("fifty calls that fail together are one outage", () => {
  let state = initialState;
  for (let call = 0; call < 50; call += 1) state = fail(state, 0, call);
  assert.deepEqual(state, { t: "down", generation: 1, outages: 1, retryAt: 100 });
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
  for (let outage = 0; outage < 6; outage += 1) {
    state = fail(state, state.generation);
    assert.equal(state.t, "down");
    if (state.t === "down") waits.push(state.retryAt);
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
  const again = abandoned(probing, probing.generation, 777);
  assert.equal(admits(again, 777), "probe");
  assert.equal(again.t === "down" && again.outages, 1);
  assert.equal(abandoned(initialState, 0, 0), initialState);
});
