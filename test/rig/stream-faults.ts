/**
 * @module Faults of a connection that is passed on byte by byte: HTTP/2, whose requests share it.
 */
import net, { type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What goes wrong. `at`: after so many bytes from the server, counted over all connections since the fault is in force. */
export type StreamFaultKind =
  | { kind: "cut"; at: number }
  | { kind: "reset"; at: number }
  | { kind: "flip"; at: number }
  | { kind: "stall"; at: number }
  /** Send this many bytes a second from there on. */
  | { kind: "slow"; at: number; rate: number }
  /** Take what the client sends and pass nothing on. */
  | { kind: "hole" }
  /** Answer by this status of HTTP/1.1. */
  | { kind: "status"; status: number };

/** A fault in force. All but `slow` hit one connection. */
export class StreamFault {
  readonly effect: StreamFaultKind;
  hits = 0;
  /** Bytes from the server so far. */
  passed = 0;

  constructor(effect: StreamFaultKind) {
    this.effect = effect;
  }

  /** Hits, if it still may. */
  take(): boolean {
    if (this.hits > 0) return false;
    this.hits++;
    return true;
  }
}

/** Where to, and what is in force now. */
export interface StreamPassInit {
  upstream: URL;
  fault: () => StreamFault | undefined;
}

/** Passes a connection on, of which `first` has been read. */
export function passStream(client: Socket, first: Buffer, { upstream, fault }: StreamPassInit): void {
  const server = net.connect({ host: upstream.hostname, port: Number(upstream.port), noDelay: true });
  client.setNoDelay(true);
  const end = () => {
    client.destroy();
    server.destroy();
  };
  for (const socket of [client, server]) socket.on("error", end).once("close", end);
  let isMute = false;
  const ask = (bytes: Buffer) => {
    const now = fault();
    if (now?.effect.kind === "hole" && now.take()) isMute = true;
    if (now?.effect.kind === "status" && now.take()) {
      client.end(`HTTP/1.1 ${now.effect.status} Injected\r\nContent-Length: 0\r\n\r\n`);
      isMute = true;
    }
    if (!isMute) server.write(bytes);
  };
  ask(first);
  client.on("data", ask);
  answer(server, client, { fault, end }).catch(end);
}

async function answer(
  server: Socket,
  client: Socket,
  { fault, end }: { fault: StreamPassInit["fault"]; end: () => void },
): Promise<void> {
  let isStalled = false;
  for await (const chunk of server as AsyncIterable<Buffer>) {
    if (isStalled) continue;
    const now = fault();
    const effect = now?.effect;
    if (now === undefined || effect === undefined || !("at" in effect)) {
      client.write(chunk);
      continue;
    }
    const from = now.passed;
    now.passed += chunk.length;
    if (effect.kind === "slow") {
      if (now.passed > effect.at) now.take();
      client.write(chunk);
      if (now.passed > effect.at) await sleep((chunk.length / effect.rate) * 1000);
    } else if (effect.at < from || effect.at >= now.passed || !now.take()) {
      client.write(chunk);
    } else if (effect.kind === "flip") {
      chunk[effect.at - from] = chunk[effect.at - from]! ^ 1;
      client.write(chunk);
    } else {
      await new Promise((resolve) => client.write(chunk.subarray(0, effect.at - from), resolve));
      if (effect.kind === "cut") end();
      else if (effect.kind === "reset") client.resetAndDestroy();
      else isStalled = true;
    }
  }
}
