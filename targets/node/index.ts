/** motenet on Node (20.19 and later). */
import { selectSuite } from '../../lib/crypto/select.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Mote } from '../../lib/mote/mote.ts';
import type { MoteOptions } from '../../lib/mote/options.ts';
import { host } from './host.ts';

export * from '../../lib/index.ts';
export { fileStore, memoryStore } from './store.ts';
export { host };

/**
 * Brings a mote up on this runtime, with the fastest crypto suite that proves itself. Rejects with NetError
 * (`ERR_ADDRESS_IN_USE`, …), and with TypeError or RangeError for options that cannot work.
 */
export function up(options: MoteOptions): Promise<Mote> {
  return Mote.up(host, selectSuite([createWasmSuite]), options, ALL_PARTS);
}
