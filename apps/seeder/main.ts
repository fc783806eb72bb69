#!/usr/bin/env node
/**
 * The seeder's process.
 * @module
 */
import { prepareRuntime } from "../../lib/cli/runtime.ts";

prepareRuntime();
const { run } = await import("./cmd/cmd.ts");
await run();
