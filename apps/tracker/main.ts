#!/usr/bin/env node
/** @module The tracker's process. */
import { prepareRuntime } from "../../lib/cli/runtime.ts";

prepareRuntime();
const { run } = await import("./cmd/cmd.ts");
await run();
