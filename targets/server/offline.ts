/**
 * A coordinator over its store, without network: for administration while no server runs. Time does not pass in it, so
 * that no device is removed for not being connected to a server that is not there.
 */
import { Coordinator } from '../../lib/coordinator/coordinator.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { host } from '../node/host.ts';
import { CoordinatorHost } from './coordinator-host.ts';
import { openDataDir } from './data-dir.ts';
import type { AdminContext } from './types.ts';

/** Opens the store of a server that does not run. Rejects with NetError `ERR_STORE`, also when it does run. */
export async function openOffline(dataDir: string): Promise<AdminContext & { close(): Promise<void> }> {
  const { store } = openDataDir(dataDir);
  try {
    const { clock, random } = host;
    const coordinator = new Coordinator({
      nowMs: clock.nowMs(),
      unixMs: clock.unixMs(),
      random,
      suite: selectSuite([createWasmSuite]),
      settings: { url: 'http://localhost', derpMap: {} },
      records: store.load(),
      lastCommit: store.lastCommit,
    });
    const still = Object.freeze({ arm: () => undefined, cancel: () => undefined });
    const running = new CoordinatorHost({
      host: { clock, createTimer: () => still },
      coordinator,
      store,
      log: () => undefined,
      onRelayDisconnect: () => undefined,
      onFailure: () => undefined,
    });
    return {
      isLocal: true,
      command: (actor, command) => running.command(actor, command),
      authenticate: token => running.authenticate(token),
      audit: query => store.audit(query),
      status: () => ({ coordinator: running.status() }),
      backup: async path => store.backup(path),
      close: async () => {
        running.close();
        store.close();
      },
    };
  } catch (error) {
    store.close();
    throw error;
  }
}
