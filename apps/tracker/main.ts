#!/usr/bin/env node
/** @module The tracker's process. */
import { run } from "./cmd/cmd.ts";

await run();
