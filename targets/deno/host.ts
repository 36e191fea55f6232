/** The ports of Deno. */
import type { Host } from '../../lib/ports.ts';
import { openNodeStream } from '../node/streams.ts';
import { createHost } from '../node/system.ts';
import { openDeno } from './datagrams.ts';
import { SocketGate } from './gate.ts';

/** Sockets, clocks, timer, randomness and names. */
export const host: Host = /* @__PURE__ */ createHost('deno', openDeno, (options, sink) =>
  openNodeStream(options, sink, socket => new SocketGate(socket)),
);
