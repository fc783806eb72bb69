import assert from "node:assert/strict";
import { test } from "node:test";
import { building, Cleanup, withCleanup } from "./cleanup.ts";

test("closes in reverse order, once, and tries everything", async () => {
  const order: string[] = [];
  const cleanup = new Cleanup();
  cleanup.defer(() => order.push("first"));
  cleanup.use({
    async [Symbol.asyncDispose]() {
      order.push("async");
      throw new Error("stuck");
    },
  });
  cleanup.use({ [Symbol.dispose]: () => order.push("sync") });
  await assert.rejects(cleanup.close(), /stuck/);
  await cleanup.close();
  assert.deepEqual(order, ["sync", "async", "first"]);
});

test("building closes only what failed to be built", async () => {
  const closed: string[] = [];
  const built = await building(async (cleanup) => {
    cleanup.defer(() => closed.push("kept"));
    return cleanup;
  });
  assert.equal(closed.length, 0);
  await built.close();
  const failing = building(async (cleanup: Cleanup): Promise<void> => {
    cleanup.defer(() => {
      closed.push("failed");
    });
    throw new Error("no");
  });
  await assert.rejects(failing, /no/);
  assert.deepEqual(closed, ["kept", "failed"]);
});

test("withCleanup closes however it ends", async () => {
  let closed = 0;
  assert.equal(
    await withCleanup(async (cleanup) => {
      cleanup.defer(() => closed++);
      return 7;
    }),
    7,
  );
  assert.equal(closed, 1);
});
