/** The ports of Bun: its `node:dgram` keeps up with its own sockets, and can enlarge their buffers, which those cannot. */
import type { Host } from '../../lib/ports.ts';
import { openDgram } from '../node/datagrams.ts';
import { createHost } from '../node/system.ts';

/** Sockets, clocks, timer, randomness and names. */
export const host: Host = /* @__PURE__ */ createHost('bun', (options, sink) =>
  openDgram(options, sink, { setsBuffers: true, sendsAtOnce: true }),
);
