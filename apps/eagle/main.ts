#!/usr/bin/env node
/**
 * The `eagle` command.
 * @module
 */
import { prepareRuntime } from "../../lib/cli/runtime.ts";

prepareRuntime();
const { main } = await import("./cmd/main.ts");
await main(process.argv.slice(2));
