import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { createRandom } from '../../targets/moddable/entropy.ts';
import { preferenceStore } from '../../targets/moddable/store.ts';
import { type ModdableSetup, upWith } from '../../targets/moddable/up.ts';
import { eventually } from '../contract/wait.ts';
import { seededRandom } from '../sim/memory-host.ts';
import { MemoryIo, MemoryPreference } from './memory-io.ts';

const test = suite('up on Moddable');

const key = (seed: number) => SecretKey.generate(seededRandom(seed));

function publicKey(secret: SecretKey): string {
  const out = new Uint8Array(32);
  createNobleSuite().publicKey(out, secret.bytes);
  return SecretKey.fromBytes(out).toBase64();
}

interface World {
  readonly setup: ModdableSetup;
  readonly warnings: string[];
  readonly times: number[];
}

function world(network: MemoryIo, more: Partial<ModdableSetup> = {}, io: Parameters<MemoryIo['io']>[0] = {}): World {
  const warnings: string[] = [];
  const times: number[] = [];
  const setup: ModdableSetup = {
    io: network.io(io),
    store: preferenceStore(new MemoryPreference()),
    setTime: seconds => times.push(seconds),
    createNative: () => named('native'),
    createTuned: () => named('tuned'),
    warn: text => warnings.push(text),
    ...more,
  };
  return { setup, warnings, times };
}

const METHODS = Object.freeze([
  ...(['hash', 'hmac', 'mac', 'dh', 'publicKey', 'createCipher', 'boxKey', 'boxSeal', 'boxOpen'] as const),
  ...(['aeadSeal', 'aeadOpen', 'xaeadSeal', 'xaeadOpen'] as const),
]);

/** The portable suite under another name. */
function named(name: string): CryptoSuite {
  const real = createNobleSuite();
  const bound = METHODS.map(method => [method, (real[method] as (...all: unknown[]) => unknown).bind(real)]);
  return { name, ...Object.fromEntries(bound) } as CryptoSuite;
}

test('two motes on these ports reach each other, on the small preset', async () => {
  const network = new MemoryIo();
  const secrets = [key(1), key(2)] as const;
  const motes = [];
  for (const own of [0, 1] as const) {
    const { setup } = world(network, {}, { random: seededRandom(own + 5) });
    motes.push(
      await upWith(setup, {
        privateKey: secrets[own],
        addresses: [`10.0.0.${own + 1}/24`],
        listenPort: 1000 + own,
        peers: [
          {
            publicKey: publicKey(secrets[1 - own]!),
            endpoint: `127.0.0.1:${1001 - own}`,
            allowedIPs: [`10.0.0.${2 - own}/32`],
          },
        ],
      }),
    );
  }
  const [alice, bob] = motes;
  const listener = await bob!.listen(7);
  const connection = await alice!.dial('10.0.0.2', 7);
  await connection.write(Uint8Array.of(1, 2, 3));
  const accepted = (await listener.accept())!;
  assert.equal(await accepted.read(), Uint8Array.of(1, 2, 3));
  assert.is(alice!.status().suite, 'native');
  assert.not('fetch' in alice!, 'HTTP is not in an image');
  await alice!.close();
  await bob!.close();
});

test('the native suite is used where it is, else the tuned one with a warning; a broken one is not', async () => {
  const options = { privateKey: key(1), addresses: ['10.0.0.1/24'] };
  const broken = () => Object.assign(named('native'), { hash: (out: Uint8Array) => void out.fill(0) });
  const cases: [Partial<ModdableSetup>, string, RegExp | undefined][] = [
    [{}, 'native', undefined],
    [{ createNative: broken }, 'tuned', /JavaScript \(tuned\), slow/],
  ];
  for (const [more, name, warning] of cases) {
    const { setup, warnings } = world(new MemoryIo(), more);
    const mote = await upWith(setup, options);
    assert.is(mote.status().suite, name);
    if (warning === undefined) assert.equal(warnings, []);
    else assert.match(warnings.join(), warning);
    await mote.close();
  }
  const { setup } = world(new MemoryIo(), { createNative: broken, createTuned: broken });
  const error = await upWith(setup, options).catch(reason => reason);
  assert.match((error as Error).message, /no crypto suite/);
});

test('a host that does not carry the native module uses the tuned suite', async () => {
  const { setup } = world(new MemoryIo());
  const { createNative: _, ...rest } = setup;
  const mote = await upWith(rest, { privateKey: key(1), addresses: ['10.0.0.1/24'] });
  assert.is(mote.status().suite, 'tuned');
  await mote.close();
});

test('without a random generator nothing comes up, and the reason is in words', async () => {
  const { setup } = world(new MemoryIo(), {}, { random: createRandom(undefined) });
  const error = await upWith(setup, { privateKey: key(1), addresses: ['10.0.0.1/24'] }).catch(reason => reason);
  assert.match((error as Error).message, /no random generator/);
});

test('a wall clock that was never set is asked for; without an answer it is said, and the mote comes up', async () => {
  const network = new MemoryIo();
  const { setup, warnings, times } = world(network, {}, { unixMs: () => 1000 });
  const mote = await upWith(setup, { privateKey: key(1), addresses: ['10.0.0.1/24'], timeServers: ['gone.test'] });
  assert.match(warnings.join(), /clock is not set/);
  assert.equal(times, []);
  await mote.close();
  const quiet = world(network, {}, { unixMs: () => 1000 });
  const second = await upWith(quiet.setup, { privateKey: key(1), addresses: ['10.0.0.1/24'], timeServers: [] });
  assert.equal(quiet.warnings, []);
  await second.close();
});

test('handshakes of a clock that restarts at 1970 go on from the stored floor', async () => {
  const network = new MemoryIo();
  const store = preferenceStore(new MemoryPreference());
  const peer = { publicKey: publicKey(key(2)), endpoint: '127.0.0.1:2000', allowedIPs: ['10.0.0.2/32'] };
  const floors: string[] = [];
  for (const unixMs of [1_790_000_000_000, 5000, 5000]) {
    const { setup } = world(network, { store }, { unixMs: () => unixMs });
    const mote = await upWith(setup, {
      privateKey: key(1),
      addresses: ['10.0.0.1/24'],
      peers: [peer],
      timeServers: [],
    });
    void mote.dial('10.0.0.2', 80).catch(() => undefined);
    const before = floors.at(-1) ?? '';
    await eventually(() => hex(store.load('tai64n')) > before);
    floors.push(hex(store.load('tai64n')));
    await mote.close();
  }
  assert.equal([...floors].sort(), floors);
  assert.is(new Set(floors).size, 3);
});

function hex(bytes: Uint8Array | undefined): string {
  return Array.from(bytes ?? [], byte => byte.toString(16).padStart(2, '0')).join('');
}

test.run();
