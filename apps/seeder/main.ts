#!/usr/bin/env node
/**
 * The seeder's process.
 * @module
 */
import { run } from "./cmd/cmd.ts";

await run();
