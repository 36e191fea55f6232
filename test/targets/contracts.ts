/** All contracts against one runtime's entry; the same on Node, Deno and Bun. */
import { mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../../lib/ports.ts';
import { fileStore, memoryStore } from '../../targets/node/store.ts';
import { datagramsContract } from '../contract/datagrams.ts';
import {
  clockContract,
  deferContract,
  interfacesContract,
  randomContract,
  resolveContract,
  timerContract,
} from '../contract/host.ts';
import { storeContract } from '../contract/store.ts';
import { streamsContract } from '../contract/streams.ts';
import { RealWorld } from '../contract/streams-far.ts';
import { secureStreamsContract } from '../contract/streams-tls.ts';

/** Queues every contract; `name` is how the suites are called. */
export function allContracts(name: string, host: Host): void {
  const addresses = Object.values(networkInterfaces()).flatMap(list => list ?? []);
  const hasV6 = addresses.some(({ address }) => address === '::1');
  datagramsContract(name, host, hasV6);
  streamsContract(name, new RealWorld(host));
  secureStreamsContract(name, new RealWorld(host));
  clockContract(name, host);
  timerContract(name, host);
  deferContract(name, host);
  randomContract(name, host);
  const hasOutside = addresses.some(
    ({ internal, address }) => !internal && !/^(127|100|fe80|fd7a|::1)\b/.test(address),
  );
  interfacesContract(name, host, hasOutside);
  resolveContract(name, host);
  storeContract(`${name} in memory`, { create: memoryStore });
  let directory = '';
  storeContract(`${name} on disk`, {
    create: () => {
      directory = mkdtempSync(join(tmpdir(), 'motenet-store-'));
      return fileStore(join(directory, 'state'));
    },
    reopen: () => fileStore(join(directory, 'state')),
    clean: () => rmSync(directory, { recursive: true, force: true }),
  });
}
