#!/usr/bin/env node
/**
 * The proxy's process.
 * @module
 */
import { run } from "./cmd/cmd.ts";

await run();
