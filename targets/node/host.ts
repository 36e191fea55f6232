/** The ports of Node. */
import type { Host } from '../../lib/ports.ts';
import { openDgram } from './datagrams.ts';
import { createHost } from './system.ts';

/** Sockets, clocks, timer, randomness and names. */
export const host: Host = /* @__PURE__ */ createHost('node', (options, sink) =>
  openDgram(options, sink, { setsBuffers: true, sendsAtOnce: true }),
);
