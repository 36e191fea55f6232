/** The ports of Deno. */
import type { Host } from '../../lib/ports.ts';
import { createHost } from '../node/system.ts';
import { openDeno } from './datagrams.ts';

/** Sockets, clocks, timer, randomness and names. */
export const host: Host = /* @__PURE__ */ createHost('deno', openDeno);
