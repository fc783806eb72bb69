/** @module Tests of the memory backend: the suite. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { storageBackends } from "./index.ts";
import { storageSuite } from "./suite.ts";

storageSuite("memory", async () => {
  const rootDirectory = await mkdtemp(join(tmpdir(), "eagle-memory-"));
  const storage = await storageBackends.memory({ rootDirectory });
  return {
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close();
      await rm(rootDirectory, { recursive: true, force: true });
    },
  };
});
