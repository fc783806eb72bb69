/**
 * @module Where blobs are kept when nobody says where.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { tempDirectory } from "../testing/temp-directory.ts";
import { dataDirectory } from "./data-directory.ts";

test("the system's directory where it can be made, else the user's", async () => {
  await using temp = await tempDirectory();
  const system = join(temp.path, "data", "bt");
  assert.equal(await dataDirectory({ system, home: "/home/u", xdgDataHome: undefined }), system);
  // A file in the way, since root may write anywhere else.
  const file = join(temp.path, "file");
  await writeFile(file, "");
  const blocked = join(file, "bt");
  assert.equal(
    await dataDirectory({ system: blocked, home: "/home/u", xdgDataHome: undefined }),
    "/home/u/.local/share/eagle",
  );
  assert.equal(await dataDirectory({ system: blocked, home: "/home/u", xdgDataHome: "/srv/data" }), "/srv/data/eagle");
  assert.equal(
    await dataDirectory({ system: blocked, home: "/home/u", xdgDataHome: "relative" }),
    "/home/u/.local/share/eagle",
  );
});
