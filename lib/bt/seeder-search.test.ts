/** @module Tests of when the seeders are asked again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { SeederSearch } from "./seeder-search.ts";
import { until } from "./testing/blobs.ts";

/** A search whose pauses pass at once, and whose questions the test answers. */
function searchOf({ mayPass = true, random = 0 }: { mayPass?: boolean; random?: number } = {}) {
  const pauses: number[] = [];
  const asks: PromiseWithResolvers<void>[] = [];
  const search = new SeederSearch({
    ask: () => {
      const ask = Promise.withResolvers<void>();
      asks.push(ask);
      return ask.promise;
    },
    mayPass: () => mayPass,
    log: silentLogger,
    random: () => random,
    sleep: async (ms) => void pauses.push(ms),
  });
  const over = new AbortController();
  let state = "runs";
  const run = search.run(over.signal);
  run.then(
    () => {
      state = "ended";
    },
    () => {
      state = "aborted";
    },
  );
  const asked = (times: number) => until(() => asks.length === times, `question ${times}`);
  return { search, pauses, asks, asked, over, state: () => state };
}

test("at once the first time, then after longer and longer pauses, for as long as nobody answers", async () => {
  const { search, pauses, asks, asked, over, state } = searchOf();
  search.lose();
  for (let times = 1; times <= 7; times++) {
    await asked(times);
    assert.ok(search.isAsking);
    asks.at(-1)!.reject(new Error("nobody"));
  }
  await asked(8);
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
  over.abort(new Error("over"));
  asks.at(-1)!.reject(new Error("over"));
  await until(() => state() === "aborted", "its end");
});

test("who has just been asked is not asked again at once, and not all in one moment", async () => {
  const { search, pauses, asked, over } = searchOf({ random: 0.5 });
  search.lose({ asked: true });
  await asked(1);
  assert.deepEqual(pauses, [375]);
  over.abort(new Error("over"));
});

test("one that is found is awaited no more; when it is lost as well, while it tells or after, the next is asked", async () => {
  const { search, pauses, asks, asked, over } = searchOf();
  assert.ok(!search.isAsking);
  search.lose();
  await asked(1);
  search.found();
  assert.ok(!search.isAsking);
  search.lose();
  search.lose();
  asks[0]!.resolve();
  await asked(2);
  asks[1]!.resolve();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(asks.length, 2);
  search.lose();
  await asked(3);
  assert.deepEqual(pauses, [500, 1000]);
  over.abort(new Error("over"));
});

test("an answer that will be the same for ever ends it", async () => {
  const { search, asks, asked, state } = searchOf({ mayPass: false });
  search.lose();
  await asked(1);
  asks[0]!.reject(new Error("no such blob"));
  await until(() => state() === "ended", "its end");
  assert.ok(!search.isAsking);
});

test("nothing is asked while nothing is lost; it ends while it waits", async () => {
  const { asks, over, state } = searchOf();
  over.abort(new Error("over"));
  await until(() => state() === "aborted", "its end");
  assert.equal(asks.length, 0);
});
