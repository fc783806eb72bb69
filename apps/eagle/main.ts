#!/usr/bin/env node
/**
 * The `eagle` command.
 * @module
 */
import { main } from "./cmd/main.ts";

await main(process.argv.slice(2));
