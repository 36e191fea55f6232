/**
 * motenet on Bun, whose `node:dgram` keeps up with its own sockets and can enlarge their buffers, which those cannot.
 */
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import { Mote } from '../../lib/mote/mote.ts';
import type { MoteOptions } from '../../lib/mote/options.ts';
import type { Host } from '../../lib/ports.ts';
import { openDgram } from '../node/datagrams.ts';
import { createHost } from '../node/host.ts';

export * from '../../lib/index.ts';
export { fileStore, memoryStore } from '../node/store.ts';

/** The ports of this runtime. */
export const host: Host = /* @__PURE__ */ createHost('bun', (options, sink) =>
  openDgram(options, sink, { setsBuffers: true, sendsAtOnce: true }),
);

/**
 * Brings a mote up on this runtime, with the fastest crypto suite that proves itself. Rejects with NetError
 * (`ERR_ADDRESS_IN_USE`, …) and throws TypeError or RangeError for options that cannot work.
 */
export function up(options: MoteOptions): Promise<Mote> {
  return Mote.up(host, selectSuite([createWasmSuite]), options);
}
