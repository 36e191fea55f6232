/**
 * The contracts of every host, on the Moddable adapters over ECMA-419 classes of the tests' own. What such a host cannot
 * do is named in the contracts: bind one address, half close.
 */
import { createModdableHost } from '../../targets/moddable/host.ts';
import { keyValueStore, preferenceStore } from '../../targets/moddable/store.ts';
import { datagramsContract } from '../contract/datagrams.ts';
import { clockContract, deferContract, randomContract, resolveContract, timerContract } from '../contract/host.ts';
import { storeContract } from '../contract/store.ts';
import { type FarEnd, type StreamWorld, streamsContract } from '../contract/streams.ts';
import { eventually, pause } from '../contract/wait.ts';
import { MemoryIo, MemoryPreference, WINDOW_BYTES } from './memory-io.ts';

const network = new MemoryIo();
const host = createModdableHost(network.io());
const closers: (() => void)[] = [];

const world: StreamWorld = {
  host,
  slackBytes: WINDOW_BYTES,
  hasHalfClose: false,
  listen: async (accept: (end: FarEnd) => void) => {
    const { port, close } = network.listen(accept);
    closers.push(close);
    return { address: '127.0.0.1', port };
  },
  refusing: async () => ({ address: '127.0.0.1', port: 9 }),
  silent: () => ({ address: '192.0.2.1', port: 80 }),
  eventually,
  pause,
  clean: () => {
    for (const close of closers.splice(0)) close();
  },
};

datagramsContract('moddable', host, false, false);
streamsContract('moddable', world);
clockContract('moddable', host);
timerContract('moddable', host);
deferContract('moddable', host);
randomContract('moddable', host);
resolveContract('moddable', host);

let preference = new MemoryPreference();
storeContract('moddable in Preference', {
  create: () => {
    preference = new MemoryPreference();
    return preferenceStore(preference);
  },
  reopen: () => preferenceStore(preference),
});

let values = new Map<string, ArrayBuffer>();
const storage = {
  read: (key: string) => values.get(key)?.slice(0),
  write: (key: string, value: ArrayBuffer) => void values.set(key, value.slice(0)),
  delete: (key: string) => void values.delete(key),
};
storeContract('moddable in key-value storage', {
  create: () => {
    values = new Map();
    return keyValueStore(storage);
  },
  reopen: () => keyValueStore(storage),
});
